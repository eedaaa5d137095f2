// SPDX-License-Identifier: GPL-2.0
/*
 * api_ignore: two objects with a child each are lost; one of the two is marked
 * to be ignored.
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

static noinline void lose_ignored(void)
{
	struct thing *t = kzalloc(sizeof(*t), GFP_KERNEL);

	if (!t)
		return;
	kmemleak_ignore(t);
	WRITE_ONCE(t->next, kzalloc(sizeof(*t), GFP_KERNEL)); /* leaks both, t unseen */
}

static int __init api_ignore_init(void)
{
	lose_unmarked();
	lose_ignored();
	return 0;
}
module_init(api_ignore_init);

static void __exit api_ignore_exit(void)
{
}
module_exit(api_ignore_exit);

MODULE_DESCRIPTION("Leaks an object marked to be ignored");
MODULE_LICENSE("GPL");
