// SPDX-License-Identifier: GPL-2.0
/*
 * alloc_kcalloc: an array of 240 bytes from kcalloc.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>

static noinline int lose_kcalloc(void)
{
	unsigned long *p = kcalloc(10, 24, GFP_KERNEL);

	if (!p)
		return -ENOMEM;
	WRITE_ONCE(*p, 1); /* leaks p */
	return 0;
}

static int __init alloc_kcalloc_init(void)
{
	return lose_kcalloc();
}
module_init(alloc_kcalloc_init);

static void __exit alloc_kcalloc_exit(void)
{
}
module_exit(alloc_kcalloc_exit);

MODULE_DESCRIPTION("Leaks memory of kcalloc");
MODULE_LICENSE("GPL");
