// SPDX-License-Identifier: GPL-2.0
/*
 * algo_orphan: one object, lost at once.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>

static noinline void lose_one(void)
{
	unsigned long *p = kzalloc(64, GFP_KERNEL);

	if (p)
		WRITE_ONCE(*p, 1); /* leaks p: nobody else knows it */
}

static int __init algo_orphan_init(void)
{
	lose_one();
	return 0;
}
module_init(algo_orphan_init);

static void __exit algo_orphan_exit(void)
{
}
module_exit(algo_orphan_exit);

MODULE_DESCRIPTION("A lone orphan");
MODULE_LICENSE("GPL");
