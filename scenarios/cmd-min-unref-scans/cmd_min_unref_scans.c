// SPDX-License-Identifier: GPL-2.0
/*
 * cmd_min_unref_scans: a number written to its parameter "lose" loses an object of that
 * size.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>

static noinline int lose(const char *val, const struct kernel_param *kp)
{
	unsigned int size;
	u32 *p;
	int err = kstrtouint(val, 0, &size);

	if (err)
		return err;
	p = kzalloc(size, GFP_KERNEL);
	if (!p)
		return -ENOMEM;
	WRITE_ONCE(*p, size); /* leaks p */
	return 0;
}

static const struct kernel_param_ops lose_ops = { .set = lose };
module_param_cb(lose, &lose_ops, NULL, 0200);
MODULE_PARM_DESC(lose, "loses an object of so many bytes (over 8192: kmemleak then knows the exact size)");

static int __init cmd_min_unref_scans_init(void)
{
	return 0;
}
module_init(cmd_min_unref_scans_init);

static void __exit cmd_min_unref_scans_exit(void)
{
}
module_exit(cmd_min_unref_scans_exit);

MODULE_DESCRIPTION("Loses objects on demand");
MODULE_LICENSE("GPL");
