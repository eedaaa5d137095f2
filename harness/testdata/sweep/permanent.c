// SPDX-License-Identifier: GPL-2.0
/* Has an init and no exit: the kernel never unloads it. */
#include <linux/module.h>

static int __init permanent_init(void)
{
	return 0;
}

module_init(permanent_init);

MODULE_DESCRIPTION("permanent");
MODULE_LICENSE("GPL");
