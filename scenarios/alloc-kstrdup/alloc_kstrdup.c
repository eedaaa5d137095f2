// SPDX-License-Identifier: GPL-2.0
/*
 * alloc_kstrdup: a string from kstrdup.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>

static noinline int lose_kstrdup(void)
{
	char *p = kstrdup("a string of more than thirty-two characters", GFP_KERNEL);

	if (!p)
		return -ENOMEM;
	WRITE_ONCE(*p, 1); /* leaks p */
	return 0;
}

static int __init alloc_kstrdup_init(void)
{
	return lose_kstrdup();
}
module_init(alloc_kstrdup_init);

static void __exit alloc_kstrdup_exit(void)
{
}
module_exit(alloc_kstrdup_exit);

MODULE_DESCRIPTION("Leaks memory of kstrdup");
MODULE_LICENSE("GPL");
