// SPDX-License-Identifier: GPL-2.0
/*
 * algo_orphan_tree: a binary tree of three levels, of which the root is lost.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>

struct node {
	struct node *child[2];
	unsigned long word[6];
};

static noinline void lose_tree(void)
{
	struct node *n[7];
	int i;

	for (i = 6; i >= 0; i--) {
		n[i] = kzalloc(sizeof(*n[i]), GFP_KERNEL);
		if (!n[i])
			break;
		if (2 * i + 2 < 7) {
			WRITE_ONCE(n[i]->child[0], n[2 * i + 1]);
			WRITE_ONCE(n[i]->child[1], n[2 * i + 2]);
		}
	}
	/* leaks n[0], the root, and what hangs on it */
}

static int __init algo_orphan_tree_init(void)
{
	lose_tree();
	return 0;
}
module_init(algo_orphan_tree_init);

static void __exit algo_orphan_tree_exit(void)
{
}
module_exit(algo_orphan_tree_exit);

MODULE_DESCRIPTION("A tree without its root");
MODULE_LICENSE("GPL");
