// SPDX-License-Identifier: GPL-2.0
/* Makes the kernel warn. */
#include <linux/bug.h>
#include <linux/module.h>

static int __init warns_init(void)
{
	WARN(1, "warns: on purpose");
	return 0;
}

static void __exit warns_exit(void)
{
}

module_init(warns_init);
module_exit(warns_exit);

MODULE_DESCRIPTION("warns");
MODULE_LICENSE("GPL");
