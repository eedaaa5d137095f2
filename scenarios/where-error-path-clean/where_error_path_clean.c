// SPDX-License-Identifier: GPL-2.0
/*
 * where_error_path_clean: init needs two objects, and frees the first where
 * the second is not to be had: the twin of where_error_path that does it
 * right.
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
	if (!second) {
		kfree(first);
		return -ENOMEM;
	}
	return 0;
}

static int __init where_error_path_clean_init(void)
{
	return set_up();
}
module_init(where_error_path_clean_init);

static void __exit where_error_path_clean_exit(void)
{
	kfree(second);
	kfree(first);
}
module_exit(where_error_path_clean_exit);

MODULE_DESCRIPTION("Leaks nothing where an allocation fails");
MODULE_LICENSE("GPL");
