// SPDX-License-Identifier: GPL-2.0
/* Its init does not return. */
#include <linux/delay.h>
#include <linux/module.h>

static int __init hangs_init(void)
{
	for (;;)
		msleep(1000);
	return 0;
}

static void __exit hangs_exit(void)
{
}

module_init(hangs_init);
module_exit(hangs_exit);

MODULE_DESCRIPTION("hangs");
MODULE_LICENSE("GPL");
