// SPDX-License-Identifier: GPL-2.0
/*
 * api_free: two objects are lost; kmemleak is told that one of them is freed.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/kmemleak.h>
#include <linux/module.h>
#include <linux/slab.h>

static noinline void lose_known(void)
{
	unsigned long *p = kzalloc(64, GFP_KERNEL);

	if (!p)
		return;
	WRITE_ONCE(*p, 1); /* leaks p */
}

static noinline void lose_freed(void)
{
	unsigned long *p = kzalloc(64, GFP_KERNEL);

	if (!p)
		return;
	WRITE_ONCE(*p, 1);
	kmemleak_free(p); /* leaks p, unseen */
}

static int __init api_free_init(void)
{
	lose_known();
	lose_freed();
	return 0;
}
module_init(api_free_init);

static void __exit api_free_exit(void)
{
}
module_exit(api_free_exit);

MODULE_DESCRIPTION("Leaks unregistered memory");
MODULE_LICENSE("GPL");
