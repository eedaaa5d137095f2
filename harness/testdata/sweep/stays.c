// SPDX-License-Identifier: GPL-2.0
/* Takes a reference to itself and never drops it. */
#include <linux/module.h>

static int __init stays_init(void)
{
	__module_get(THIS_MODULE);
	return 0;
}

static void __exit stays_exit(void)
{
}

module_init(stays_init);
module_exit(stays_exit);

MODULE_DESCRIPTION("stays");
MODULE_LICENSE("GPL");
