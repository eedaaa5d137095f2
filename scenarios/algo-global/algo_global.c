// SPDX-License-Identifier: GPL-2.0
/*
 * algo_global: one object, held by a variable of the module.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>

static unsigned long *held;

static int __init algo_global_init(void)
{
	held = kzalloc(64, GFP_KERNEL);
	if (!held)
		return -ENOMEM;
	return 0;
}
module_init(algo_global_init);

static void __exit algo_global_exit(void)
{
	kfree(held);
}
module_exit(algo_global_exit);

MODULE_DESCRIPTION("An object held by a global variable");
MODULE_LICENSE("GPL");
