// SPDX-License-Identifier: GPL-2.0
/*
 * algo_orphan_chain: a singly linked list of ten, of which the head is lost.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>

struct thing {
	struct thing *next;
	unsigned long word[7];
};

static noinline void lose_chain(void)
{
	struct thing *head = NULL;
	int i;

	for (i = 0; i < 10; i++) {
		struct thing *t = kzalloc(sizeof(*t), GFP_KERNEL);

		if (!t)
			break;
		WRITE_ONCE(t->next, head);
		head = t;
	}
	/* leaks the list: head goes with this function */
}

static int __init algo_orphan_chain_init(void)
{
	lose_chain();
	return 0;
}
module_init(algo_orphan_chain_init);

static void __exit algo_orphan_chain_exit(void)
{
}
module_exit(algo_orphan_chain_exit);

MODULE_DESCRIPTION("A lost list");
MODULE_LICENSE("GPL");
