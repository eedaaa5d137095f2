// SPDX-License-Identifier: GPL-2.0
/* Its exit forgets what its init allocated. */
#include <linux/module.h>
#include <linux/slab.h>

static char *text;

static noinline char *lose_late(void)
{
	return kstrdup("a text that nobody will free", GFP_KERNEL); /* the leak */
}

static int __init loses_late_init(void)
{
	text = lose_late();
	return text ? 0 : -ENOMEM;
}

static void __exit loses_late_exit(void)
{
	text = NULL;
}

module_init(loses_late_init);
module_exit(loses_late_exit);

MODULE_DESCRIPTION("loses_late");
MODULE_LICENSE("GPL");
