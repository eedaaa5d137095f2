// SPDX-License-Identifier: GPL-2.0
/*
 * algo_orphan_list: a registry that owns a list of three hundred nodes, lost as a
 * whole.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/slab.h>

struct registry {
	struct list_head nodes;
	unsigned long word[22];
};

struct node {
	struct list_head list;
	unsigned long word[6];
};

static noinline struct registry *registry_create(void)
{
	struct registry *r = kzalloc(sizeof(*r), GFP_KERNEL);

	if (r)
		INIT_LIST_HEAD(&r->nodes);
	return r;
}

static noinline int registry_add(struct registry *r)
{
	struct node *n = kzalloc(sizeof(*n), GFP_KERNEL);

	if (!n)
		return -ENOMEM;
	list_add_tail(&n->list, &r->nodes);
	return 0;
}

static noinline int lose_registry(void)
{
	struct registry *r = registry_create();
	int i, err;

	if (!r)
		return -ENOMEM;
	for (i = 0; i < 300; i++) {
		err = registry_add(r);
		if (err)
			return err;
	}
	return 0; /* leaks r, and its nodes with it */
}

static int __init algo_orphan_list_init(void)
{
	return lose_registry();
}
module_init(algo_orphan_list_init);

static void __exit algo_orphan_list_exit(void)
{
}
module_exit(algo_orphan_list_exit);

MODULE_DESCRIPTION("A list without its owner");
MODULE_LICENSE("GPL");
