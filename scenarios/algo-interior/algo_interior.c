// SPDX-License-Identifier: GPL-2.0
/*
 * algo_interior: the only pointer leads into the middle of the object.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>

struct thing {
	struct thing *next;
	unsigned long word[7];
};

static unsigned long *inner;

static int __init algo_interior_init(void)
{
	struct thing *t = kzalloc(sizeof(*t), GFP_KERNEL);

	if (!t)
		return -ENOMEM;
	inner = &t->word[3];
	return 0;
}
module_init(algo_interior_init);

static void __exit algo_interior_exit(void)
{
	kfree(container_of(inner, struct thing, word[3]));
}
module_exit(algo_interior_exit);

MODULE_DESCRIPTION("An object held by a pointer into its middle");
MODULE_LICENSE("GPL");
