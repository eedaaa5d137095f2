// SPDX-License-Identifier: GPL-2.0
/*
 * where_kthread: a kernel thread allocates and forgets, then waits to be
 * stopped.
 */
#include <linux/err.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/slab.h>

static struct task_struct *thread;

static noinline void work_once(void)
{
	unsigned long *p = kzalloc(64, GFP_KERNEL);

	if (p)
		WRITE_ONCE(*p, 1); /* leaks p */
}

static int run(void *unused)
{
	work_once();
	while (!kthread_should_stop())
		schedule_timeout_interruptible(HZ);
	return 0;
}

static int __init where_kthread_init(void)
{
	thread = kthread_run(run, NULL, "where_kthread");
	return PTR_ERR_OR_ZERO(thread);
}
module_init(where_kthread_init);

static void __exit where_kthread_exit(void)
{
	kthread_stop(thread);
}
module_exit(where_kthread_exit);

MODULE_DESCRIPTION("Leaks in a kernel thread");
MODULE_LICENSE("GPL");
