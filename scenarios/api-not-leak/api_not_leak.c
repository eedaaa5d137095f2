// SPDX-License-Identifier: GPL-2.0
/*
 * api_not_leak: two objects with a child each are lost; one of the two is
 * marked as no leak.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/kmemleak.h>
#include <linux/module.h>
#include <linux/slab.h>

struct thing {
	struct thing *next;
	unsigned long word[7];
};

static noinline void lose_unmarked(void)
{
	struct thing *t = kzalloc(sizeof(*t), GFP_KERNEL);

	if (!t)
		return;
	WRITE_ONCE(t->next, kzalloc(sizeof(*t), GFP_KERNEL)); /* leaks t and its child */
}

static noinline void lose_marked(void)
{
	struct thing *t = kzalloc(sizeof(*t), GFP_KERNEL);

	if (!t)
		return;
	kmemleak_not_leak(t);
	WRITE_ONCE(t->next, kzalloc(sizeof(*t), GFP_KERNEL)); /* leaks both, unseen */
}

static int __init api_not_leak_init(void)
{
	lose_unmarked();
	lose_marked();
	return 0;
}
module_init(api_not_leak_init);

static void __exit api_not_leak_exit(void)
{
}
module_exit(api_not_leak_exit);

MODULE_DESCRIPTION("Leaks an object marked as no leak");
MODULE_LICENSE("GPL");
