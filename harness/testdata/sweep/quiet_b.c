// SPDX-License-Identifier: GPL-2.0
/* Frees what it allocates. */
#include <linux/module.h>
#include <linux/slab.h>

static char *text;

static int __init quiet_init(void)
{
	text = kmalloc(64 + 2, GFP_KERNEL);
	return text ? 0 : -ENOMEM;
}

static void __exit quiet_exit(void)
{
	kfree(text);
}

module_init(quiet_init);
module_exit(quiet_exit);

MODULE_DESCRIPTION("quiet_b");
MODULE_LICENSE("GPL");
