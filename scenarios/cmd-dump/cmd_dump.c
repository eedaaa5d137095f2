// SPDX-License-Identifier: GPL-2.0
/*
 * cmd_dump: an object that is held and one that is lost, with their addresses
 * as parameters.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>
#include <linux/sysfs.h>

static unsigned long *held;

static unsigned long live;
module_param(live, ulong, 0400);
MODULE_PARM_DESC(live, "address of the object that is held");

static unsigned long orphan; /* the complement: no pointer to kmemleak */

static int get_orphan(char *buf, const struct kernel_param *kp)
{
	return sysfs_emit(buf, "0x%lx", ~orphan);
}

static const struct kernel_param_ops orphan_ops = { .get = get_orphan };
module_param_cb(orphan, &orphan_ops, NULL, 0400);
MODULE_PARM_DESC(orphan, "address of the object that is lost");

static noinline int lose_one(void)
{
	unsigned long *p = kzalloc(9001, GFP_KERNEL);

	if (!p)
		return -ENOMEM;
	WRITE_ONCE(*p, 1); /* leaks p */
	orphan = ~(unsigned long)p;
	return 0;
}

static int __init cmd_dump_init(void)
{
	held = kzalloc(9003, GFP_KERNEL);
	if (!held)
		return -ENOMEM;
	live = (unsigned long)held;
	return lose_one();
}
module_init(cmd_dump_init);

static void __exit cmd_dump_exit(void)
{
	kfree(held);
}
module_exit(cmd_dump_exit);

MODULE_DESCRIPTION("Tells where its objects are");
MODULE_LICENSE("GPL");
