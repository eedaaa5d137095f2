// SPDX-License-Identifier: GPL-2.0
/*
 * alloc_kzalloc: 100 bytes from kzalloc.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>

static noinline int lose_kzalloc(void)
{
	unsigned long *p = kzalloc(100, GFP_KERNEL);

	if (!p)
		return -ENOMEM;
	WRITE_ONCE(*p, 1); /* leaks p */
	return 0;
}

static int __init alloc_kzalloc_init(void)
{
	return lose_kzalloc();
}
module_init(alloc_kzalloc_init);

static void __exit alloc_kzalloc_exit(void)
{
}
module_exit(alloc_kzalloc_exit);

MODULE_DESCRIPTION("Leaks memory of kzalloc");
MODULE_LICENSE("GPL");
