// SPDX-License-Identifier: GPL-2.0
/* Its load ends in an oops. */
#include <linux/module.h>

static int __init oopses_init(void)
{
	WRITE_ONCE(*(int *)8, 1);
	return 0;
}

static void __exit oopses_exit(void)
{
}

module_init(oopses_init);
module_exit(oopses_exit);

MODULE_DESCRIPTION("oopses");
MODULE_LICENSE("GPL");
