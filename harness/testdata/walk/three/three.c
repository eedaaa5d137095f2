// SPDX-License-Identifier: GPL-2.0
/*
 * three: a driver whose load is right as long as every allocation is granted.
 * Each of three of its error paths is wrong in its own way: a leak, a double
 * free, a NULL dereference. Two more are right.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>

static void *head, *tail;	/* wants both */
static void *ring, *spare;	/* wants both */
static unsigned long *mark;	/* can do without */

static noinline int take_queue(void)
{
	head = kzalloc(96, GFP_KERNEL);
	if (!head)
		return -ENOMEM;
	tail = kzalloc(96, GFP_KERNEL);
	if (!tail)
		return -ENOMEM;	/* leaks head */
	return 0;
}

static noinline int take_ring(void)
{
	ring = kzalloc(192, GFP_KERNEL);
	if (!ring)
		return -ENOMEM;
	spare = kzalloc(192, GFP_KERNEL);
	if (!spare)
		goto free_ring;
	return 0;

free_ring:
	kfree(ring);
	return -ENOMEM;	/* three_init frees ring once more */
}

static noinline void set_mark(void)
{
	mark = kzalloc(sizeof(*mark), GFP_KERNEL);
	WRITE_ONCE(*mark, 1);	/* mark may be NULL */
}

static int __init three_init(void)
{
	int err;

	err = take_queue();
	if (err)
		return err;
	err = take_ring();
	if (err)
		goto free_all;
	set_mark();
	return 0;

free_all:
	kfree(ring);
	kfree(tail);
	kfree(head);
	return err;
}
module_init(three_init);

static void __exit three_exit(void)
{
	kfree(mark);
	kfree(spare);
	kfree(ring);
	kfree(tail);
	kfree(head);
}
module_exit(three_exit);

MODULE_DESCRIPTION("Three wrong error paths");
MODULE_LICENSE("GPL");
