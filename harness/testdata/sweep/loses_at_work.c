// SPDX-License-Identifier: GPL-2.0
/* Its worker forgets what it allocated. */
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

static void lose_at_work(struct work_struct *work)
{
	kzalloc(160, GFP_KERNEL); /* the leak */
}

static DECLARE_WORK(worker, lose_at_work);

static int __init loses_at_work_init(void)
{
	schedule_work(&worker);
	return 0;
}

static void __exit loses_at_work_exit(void)
{
	flush_work(&worker);
}

module_init(loses_at_work_init);
module_exit(loses_at_work_exit);

MODULE_DESCRIPTION("loses_at_work");
MODULE_LICENSE("GPL");
