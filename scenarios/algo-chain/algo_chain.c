// SPDX-License-Identifier: GPL-2.0
/*
 * algo_chain: a singly linked list of ten, held by its head.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>

struct thing {
	struct thing *next;
	unsigned long word[7];
};

static struct thing *head;

static int __init algo_chain_init(void)
{
	int i;

	for (i = 0; i < 10; i++) {
		struct thing *t = kzalloc(sizeof(*t), GFP_KERNEL);

		if (!t)
			break;
		t->next = head;
		head = t;
	}
	return 0;
}
module_init(algo_chain_init);

static void __exit algo_chain_exit(void)
{
	while (head) {
		struct thing *t = head;

		head = t->next;
		kfree(t);
	}
}
module_exit(algo_chain_exit);

MODULE_DESCRIPTION("A list held by its head");
MODULE_LICENSE("GPL");
