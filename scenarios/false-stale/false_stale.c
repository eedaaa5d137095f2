// SPDX-License-Identifier: GPL-2.0
/*
 * false_stale: an object is lost, but a live structure still has its address.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/kmemleak.h>
#include <linux/module.h>
#include <linux/slab.h>

struct holder {
	unsigned long *first;
	unsigned long word[6];
	unsigned long *last; /* nobody uses it any more */
};

static struct holder *holder;

static noinline void lose_last(void)
{
	holder->last = kzalloc(64, GFP_KERNEL); /* leaks it: last is never freed */
	barrier();
}

static int __init false_stale_init(void)
{
	holder = kzalloc(sizeof(*holder), GFP_KERNEL);
	if (!holder)
		return -ENOMEM;
	lose_last();
	return 0;
}
module_init(false_stale_init);

static void __exit false_stale_exit(void)
{
	kfree(holder);
}
module_exit(false_stale_exit);

MODULE_DESCRIPTION("Leaks an object behind a stale pointer");
MODULE_LICENSE("GPL");
