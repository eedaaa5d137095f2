// SPDX-License-Identifier: GPL-2.0
/*
 * api_free_part: two objects of 256 bytes are lost; kmemleak is told that the
 * middle of one of them is freed.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/kmemleak.h>
#include <linux/module.h>
#include <linux/slab.h>

static noinline void lose_whole(void)
{
	unsigned long *p = kzalloc(256, GFP_KERNEL);

	if (!p)
		return;
	WRITE_ONCE(*p, 1); /* leaks p */
}

static noinline void lose_split(void)
{
	unsigned long *p = kzalloc(256, GFP_KERNEL);

	if (!p)
		return;
	WRITE_ONCE(*p, 1);
	kmemleak_free_part(p + 9, 112); /* leaks p, in two parts */
}

static int __init api_free_part_init(void)
{
	lose_whole();
	lose_split();
	return 0;
}
module_init(api_free_part_init);

static void __exit api_free_part_exit(void)
{
}
module_exit(api_free_part_exit);

MODULE_DESCRIPTION("Leaks parts of objects");
MODULE_LICENSE("GPL");
