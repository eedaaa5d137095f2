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

static noinline struct node *grow_tree(int levels)
{
	struct node *n = kzalloc(sizeof(*n), GFP_KERNEL);

	if (n && levels > 1) {
		WRITE_ONCE(n->child[0], grow_tree(levels - 1));
		WRITE_ONCE(n->child[1], grow_tree(levels - 1));
	}
	return n;
}

static noinline void lose_tree(void)
{
	struct node *root = grow_tree(3);

	if (root)
		WRITE_ONCE(root->word[0], 1); /* leaks root and what hangs on it */
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
