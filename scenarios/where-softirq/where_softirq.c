// SPDX-License-Identifier: GPL-2.0
/*
 * where_softirq: a tasklet, which runs in softirq context, allocates and
 * forgets.
 */
#include <linux/init.h>
#include <linux/interrupt.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>

static noinline void on_tasklet(struct tasklet_struct *t)
{
	unsigned long *p = kzalloc(64, GFP_ATOMIC);

	if (p)
		WRITE_ONCE(*p, 1); /* leaks p */
}

static DECLARE_TASKLET(tasklet, on_tasklet);

static int __init where_softirq_init(void)
{
	tasklet_schedule(&tasklet);
	return 0;
}
module_init(where_softirq_init);

static void __exit where_softirq_exit(void)
{
	tasklet_kill(&tasklet);
}
module_exit(where_softirq_exit);

MODULE_DESCRIPTION("Leaks in softirq context");
MODULE_LICENSE("GPL");
