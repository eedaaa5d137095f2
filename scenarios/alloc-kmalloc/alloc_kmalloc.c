// SPDX-License-Identifier: GPL-2.0
/*
 * alloc_kmalloc: 100 bytes from kmalloc.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>

static noinline int lose_kmalloc(void)
{
	unsigned long *p = kmalloc(100, GFP_KERNEL);

	if (!p)
		return -ENOMEM;
	WRITE_ONCE(*p, 1); /* leaks p */
	return 0;
}

static int __init alloc_kmalloc_init(void)
{
	return lose_kmalloc();
}
module_init(alloc_kmalloc_init);

static void __exit alloc_kmalloc_exit(void)
{
}
module_exit(alloc_kmalloc_exit);

MODULE_DESCRIPTION("Leaks memory of kmalloc");
MODULE_LICENSE("GPL");
