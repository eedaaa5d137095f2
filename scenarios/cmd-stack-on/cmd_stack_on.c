// SPDX-License-Identifier: GPL-2.0
/*
 * cmd_stack_on: a thread sleeps with the only pointer to an object on its
 * stack.
 */
#include <linux/err.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/slab.h>

static struct task_struct *thread;

/* The only pointer lives in this function, across a sleep. */
static noinline int hold_on_stack(void *unused)
{
	unsigned long *held[1] = { kzalloc(64, GFP_KERNEL) };

	while (!kthread_should_stop()) {
		OPTIMIZER_HIDE_VAR(held[0]);
		barrier_data(held); /* held is in memory, not in a register */
		schedule_timeout_interruptible(HZ);
	}
	kfree(held[0]);
	return 0;
}

static int __init cmd_stack_on_init(void)
{
	thread = kthread_run(hold_on_stack, NULL, "hold_on_stack");
	return PTR_ERR_OR_ZERO(thread);
}
module_init(cmd_stack_on_init);

static void __exit cmd_stack_on_exit(void)
{
	kthread_stop(thread);
}
module_exit(cmd_stack_on_exit);

MODULE_DESCRIPTION("Holds an object from a stack");
MODULE_LICENSE("GPL");
