// SPDX-License-Identifier: GPL-2.0
/*
 * where_error_path: init needs two objects. Where the second is not to be had,
 * the first is forgotten: seen only where an allocation fails.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>

static unsigned long *first, *second;

static noinline int set_up(void)
{
	first = kzalloc(64, GFP_KERNEL);
	if (!first)
		return -ENOMEM;
	second = kzalloc(128, GFP_KERNEL);
	if (!second)
		return -ENOMEM; /* leaks first */
	return 0;
}

static int __init where_error_path_init(void)
{
	return set_up();
}
module_init(where_error_path_init);

static void __exit where_error_path_exit(void)
{
	kfree(second);
	kfree(first);
}
module_exit(where_error_path_exit);

MODULE_DESCRIPTION("Leaks where an allocation fails");
MODULE_LICENSE("GPL");
