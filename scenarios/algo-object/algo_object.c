// SPDX-License-Identifier: GPL-2.0
/*
 * algo_object: one object holds the other.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>

struct thing {
	struct thing *next;
	unsigned long word[7];
};

static struct thing *held;

static int __init algo_object_init(void)
{
	held = kzalloc(sizeof(*held), GFP_KERNEL);
	if (!held)
		return -ENOMEM;
	held->next = kzalloc(sizeof(*held), GFP_KERNEL);
	return 0;
}
module_init(algo_object_init);

static void __exit algo_object_exit(void)
{
	kfree(held->next);
	kfree(held);
}
module_exit(algo_object_exit);

MODULE_DESCRIPTION("An object held by another");
MODULE_LICENSE("GPL");
