// SPDX-License-Identifier: GPL-2.0
/* Looks for a device that is not there. */
#include <linux/module.h>

static int __init no_hardware_init(void)
{
	pr_err("no_hardware: no device answers\n");
	return -ENODEV;
}

static void __exit no_hardware_exit(void)
{
}

module_init(no_hardware_init);
module_exit(no_hardware_exit);

MODULE_DESCRIPTION("no_hardware");
MODULE_LICENSE("GPL");
