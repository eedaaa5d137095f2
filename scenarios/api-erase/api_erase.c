// SPDX-License-Identifier: GPL-2.0
/*
 * api_erase: two objects are lost, but the variables that held them keep the
 * addresses; one of the two is erased.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/kmemleak.h>
#include <linux/module.h>
#include <linux/slab.h>

static unsigned long *stale, *erased;

static noinline void lose_stale(void)
{
	/* leaks it, unseen: stale stays */
	WRITE_ONCE(stale, kzalloc(64, GFP_KERNEL));
}

static noinline void lose_erased(void)
{
	erased = kzalloc(64, GFP_KERNEL);
	kmemleak_erase((void **)&erased); /* leaks it */
}

static int __init api_erase_init(void)
{
	lose_stale();
	lose_erased();
	return 0;
}
module_init(api_erase_init);

static void __exit api_erase_exit(void)
{
}
module_exit(api_erase_exit);

MODULE_DESCRIPTION("Leaks an object and erases the pointer");
MODULE_LICENSE("GPL");
