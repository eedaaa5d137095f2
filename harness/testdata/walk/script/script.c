// SPDX-License-Identifier: GPL-2.0
/*
 * script: a number written to its parameter "pair" takes two objects and gives
 * them back. Where the second is not to be had, the first is forgotten.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>

/* The objects are small and big, so that no cache is theirs alone. */

static noinline int pair_set(const char *val, const struct kernel_param *kp)
{
	void *first, *second;

	first = kzalloc(96, GFP_KERNEL);
	if (!first)
		return -ENOMEM;
	second = kzalloc(192, GFP_KERNEL);
	if (!second)
		return -ENOMEM;	/* leaks first */
	kfree(second);
	kfree(first);
	return 0;
}

static const struct kernel_param_ops pair_ops = { .set = pair_set };
module_param_cb(pair, &pair_ops, NULL, 0200);
MODULE_PARM_DESC(pair, "takes two objects and gives them back");

static int __init script_init(void)
{
	return 0;
}
module_init(script_init);

static void __exit script_exit(void)
{
}
module_exit(script_exit);

MODULE_DESCRIPTION("A wrong error path in what a script works");
MODULE_LICENSE("GPL");
