// SPDX-License-Identifier: GPL-2.0
/* Brings the kernel down. */
#include <linux/module.h>
#include <linux/panic.h>

static int __init panics_init(void)
{
	panic("panics: on purpose");
	return 0;
}

static void __exit panics_exit(void)
{
}

module_init(panics_init);
module_exit(panics_exit);

MODULE_DESCRIPTION("panics");
MODULE_LICENSE("GPL");
