// SPDX-License-Identifier: GPL-2.0
/*
 * cmd_clear_hides: an object of 9001 bytes is lost. A write to the parameter
 * "hang" hangs another, of 9003 bytes, on it: the driver knows it in disguise.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>

static unsigned long disguised;

static noinline int lose_parent(void)
{
	unsigned long **p = kzalloc(9001, GFP_KERNEL);

	if (!p)
		return -ENOMEM;
	WRITE_ONCE(*p, NULL); /* leaks p */
	disguised = ~(unsigned long)p; /* no pointer to kmemleak */
	return 0;
}

static noinline int hang(const char *val, const struct kernel_param *kp)
{
	unsigned long **p = (unsigned long **)~disguised;

	WRITE_ONCE(*p, kzalloc(9003, GFP_KERNEL)); /* leaks it with p */
	return 0;
}

static const struct kernel_param_ops hang_ops = { .set = hang };
module_param_cb(hang, &hang_ops, NULL, 0200);
MODULE_PARM_DESC(hang, "hangs an object of 9003 bytes on the lost one");

static int __init cmd_clear_hides_init(void)
{
	return lose_parent();
}
module_init(cmd_clear_hides_init);

static void __exit cmd_clear_hides_exit(void)
{
}
module_exit(cmd_clear_hides_exit);

MODULE_DESCRIPTION("Loses an object and what hangs on it");
MODULE_LICENSE("GPL");
