// SPDX-License-Identifier: GPL-2.0
/* Its init forgets what it allocated. */
#include <linux/module.h>
#include <linux/slab.h>

static noinline int lose_early(void)
{
	return kmalloc(96, GFP_KERNEL) ? 0 : -ENOMEM; /* the leak */
}

static int __init loses_early_init(void)
{
	return lose_early();
}

static void __exit loses_early_exit(void)
{
}

module_init(loses_early_init);
module_exit(loses_early_exit);

MODULE_DESCRIPTION("loses_early");
MODULE_LICENSE("GPL");
