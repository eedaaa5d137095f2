// SPDX-License-Identifier: GPL-2.0
/* nothing: loads and unloads, and allocates nothing. */
#include <linux/module.h>

static int __init nothing_init(void)
{
	return 0;
}

static void __exit nothing_exit(void)
{
}

module_init(nothing_init);
module_exit(nothing_exit);
MODULE_DESCRIPTION("Does nothing");
MODULE_LICENSE("GPL");
