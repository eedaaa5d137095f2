// SPDX-License-Identifier: GPL-2.0
/*
 * algo_changing: an orphan whose contents change every 100 ms, until "still"
 * is written to its parameter. The timer knows it only in disguise, which is
 * no reference to kmemleak.
 */
#include <linux/init.h>
#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>
#include <linux/timer.h>

static unsigned long disguised;
static struct timer_list timer;
static bool still;
module_param(still, bool, 0600);
MODULE_PARM_DESC(still, "no longer touch the object");

static void touch(struct timer_list *t)
{
	unsigned long *p;

	if (still)
		return;
	p = (unsigned long *)~disguised;
	WRITE_ONCE(*p, *p + 1);
	mod_timer(t, jiffies + HZ / 10);
}

static noinline int lose_changing(void)
{
	unsigned long *p = kzalloc(9002, GFP_KERNEL);

	if (!p)
		return -ENOMEM;
	WRITE_ONCE(*p, 1);
	disguised = ~(unsigned long)p; /* leaks p: this is no pointer */
	return 0;
}

static int __init algo_changing_init(void)
{
	int err = lose_changing();

	if (err)
		return err;
	timer_setup(&timer, touch, 0);
	mod_timer(&timer, jiffies + HZ / 10);
	return 0;
}
module_init(algo_changing_init);

static void __exit algo_changing_exit(void)
{
	timer_delete_sync(&timer);
}
module_exit(algo_changing_exit);

MODULE_DESCRIPTION("An orphan that changes");
MODULE_LICENSE("GPL");
