// SPDX-License-Identifier: GPL-2.0
/*
 * algo_orphan_ring: two objects that know each other, and nobody knows them.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>

struct thing {
	struct thing *next;
	unsigned long word[7];
};

static noinline void lose_ring(void)
{
	struct thing *a = kzalloc(sizeof(*a), GFP_KERNEL);
	struct thing *b = kzalloc(sizeof(*b), GFP_KERNEL);

	if (!a || !b) {
		kfree(a);
		kfree(b);
		return;
	}
	WRITE_ONCE(a->next, b);
	WRITE_ONCE(b->next, a); /* leaks both */
}

static int __init algo_orphan_ring_init(void)
{
	lose_ring();
	return 0;
}
module_init(algo_orphan_ring_init);

static void __exit algo_orphan_ring_exit(void)
{
}
module_exit(algo_orphan_ring_exit);

MODULE_DESCRIPTION("Two orphans that point at each other");
MODULE_LICENSE("GPL");
