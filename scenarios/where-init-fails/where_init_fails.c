// SPDX-License-Identifier: GPL-2.0
/*
 * where_init_fails: init allocates; with the parameter "fail" it then finds
 * something wrong and returns an error, without the kfree.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>

static unsigned long *state;
static bool fail;
module_param(fail, bool, 0400);
MODULE_PARM_DESC(fail, "init does not succeed");

static noinline int prepare(void)
{
	state = kzalloc(64, GFP_KERNEL);
	if (!state)
		return -ENOMEM;
	if (fail)
		return -EIO; /* leaks state: the kfree is missing */
	return 0;
}

static int __init where_init_fails_init(void)
{
	return prepare();
}
module_init(where_init_fails_init);

static void __exit where_init_fails_exit(void)
{
	kfree(state);
}
module_exit(where_init_fails_exit);

MODULE_DESCRIPTION("Leaks in an init that fails");
MODULE_LICENSE("GPL");
