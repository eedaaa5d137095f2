// SPDX-License-Identifier: GPL-2.0
/*
 * boot_default_off_alone: one object, lost at once, which a kernel without a
 * working kmemleak does not report.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>

static noinline void lose_one(void)
{
	unsigned long *p = kzalloc(64, GFP_KERNEL);

	if (p)
		WRITE_ONCE(*p, 1); /* leaks p */
}

static int __init boot_default_off_alone_init(void)
{
	lose_one();
	return 0;
}
module_init(boot_default_off_alone_init);

static void __exit boot_default_off_alone_exit(void)
{
}
module_exit(boot_default_off_alone_exit);

MODULE_DESCRIPTION("A lone orphan");
MODULE_LICENSE("GPL");
