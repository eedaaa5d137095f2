// SPDX-License-Identifier: GPL-2.0
/*
 * alloc_krealloc: an array that krealloc moves to a larger place.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>

static noinline int lose_krealloc(void)
{
	unsigned long *old = kmalloc(64, GFP_KERNEL);
	unsigned long *p;

	if (!old)
		return -ENOMEM;
	WRITE_ONCE(*old, 1);
	p = krealloc(old, 1000, GFP_KERNEL);
	if (!p) {
		kfree(old);
		return -ENOMEM;
	}
	WRITE_ONCE(*p, 2); /* leaks p; old is krealloc's to free */
	return 0;
}

static int __init alloc_krealloc_init(void)
{
	return lose_krealloc();
}
module_init(alloc_krealloc_init);

static void __exit alloc_krealloc_exit(void)
{
}
module_exit(alloc_krealloc_exit);

MODULE_DESCRIPTION("Leaks memory of krealloc");
MODULE_LICENSE("GPL");
