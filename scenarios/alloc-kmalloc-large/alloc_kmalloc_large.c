// SPDX-License-Identifier: GPL-2.0
/*
 * alloc_kmalloc_large: 20000 bytes from kmalloc, which takes them from the
 * page allocator.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>

static noinline int lose_kmalloc_large(void)
{
	unsigned long *p = kmalloc(20000, GFP_KERNEL);

	if (!p)
		return -ENOMEM;
	WRITE_ONCE(*p, 1); /* leaks p */
	return 0;
}

static int __init alloc_kmalloc_large_init(void)
{
	return lose_kmalloc_large();
}
module_init(alloc_kmalloc_large_init);

static void __exit alloc_kmalloc_large_exit(void)
{
}
module_exit(alloc_kmalloc_large_exit);

MODULE_DESCRIPTION("Leaks memory of kmalloc_large");
MODULE_LICENSE("GPL");
