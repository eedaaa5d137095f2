// SPDX-License-Identifier: GPL-2.0
/*
 * where_work: a work item allocates and forgets, three times.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

static noinline void do_work(struct work_struct *work)
{
	unsigned long *p = kzalloc(64, GFP_KERNEL);

	if (p)
		WRITE_ONCE(*p, 1); /* leaks p */
}

static DECLARE_WORK(work, do_work);

static int __init where_work_init(void)
{
	int i;

	for (i = 0; i < 3; i++) {
		schedule_work(&work);
		flush_work(&work);
	}
	return 0;
}
module_init(where_work_init);

static void __exit where_work_exit(void)
{
	cancel_work_sync(&work);
}
module_exit(where_work_exit);

MODULE_DESCRIPTION("Leaks in a work item");
MODULE_LICENSE("GPL");
