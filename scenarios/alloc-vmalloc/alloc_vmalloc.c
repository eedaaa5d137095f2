// SPDX-License-Identifier: GPL-2.0
/*
 * alloc_vmalloc: three pages from vmalloc.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

static noinline int lose_vmalloc(void)
{
	unsigned long *p = vmalloc(3 * PAGE_SIZE);

	if (!p)
		return -ENOMEM;
	WRITE_ONCE(*p, 1); /* leaks p */
	return 0;
}

static int __init alloc_vmalloc_init(void)
{
	return lose_vmalloc();
}
module_init(alloc_vmalloc_init);

static void __exit alloc_vmalloc_exit(void)
{
}
module_exit(alloc_vmalloc_exit);

MODULE_DESCRIPTION("Leaks memory of vmalloc");
MODULE_LICENSE("GPL");
