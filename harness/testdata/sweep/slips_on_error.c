// SPDX-License-Identifier: GPL-2.0
/* Frees what it allocates, but where its second allocation fails. */
#include <linux/module.h>
#include <linux/slab.h>

static char *first, *second;

static noinline int slip(void)
{
	first = kmalloc(200, GFP_KERNEL); /* the leak */
	if (!first)
		return -ENOMEM;
	second = kmalloc(200, GFP_KERNEL);
	if (!second)
		return -ENOMEM; /* leaks first */
	return 0;
}

static int __init slips_on_error_init(void)
{
	return slip();
}

static void __exit slips_on_error_exit(void)
{
	kfree(second);
	kfree(first);
}

module_init(slips_on_error_init);
module_exit(slips_on_error_exit);

MODULE_DESCRIPTION("slips_on_error");
MODULE_LICENSE("GPL");
