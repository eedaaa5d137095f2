// SPDX-License-Identifier: GPL-2.0
/*
 * forty: forty allocations in a load, each with the right error path.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>

static void *parts[40];

static void give_back(void)
{
	for (int i = 0; i < ARRAY_SIZE(parts); i++)
		kfree(parts[i]);
}

static int __init forty_init(void)
{
	for (int i = 0; i < ARRAY_SIZE(parts); i++) {
		parts[i] = kzalloc(128, GFP_KERNEL);
		if (!parts[i]) {
			give_back();	/* kfree takes the NULLs of the rest */
			return -ENOMEM;
		}
	}
	return 0;
}
module_init(forty_init);

static void __exit forty_exit(void)
{
	give_back();
}
module_exit(forty_exit);

MODULE_DESCRIPTION("Forty right error paths");
MODULE_LICENSE("GPL");
