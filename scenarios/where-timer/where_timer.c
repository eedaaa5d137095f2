// SPDX-License-Identifier: GPL-2.0
/*
 * where_timer: a timer, three times at 20 ms, allocates and forgets.
 */
#include <linux/init.h>
#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/timer.h>

static struct timer_list timer;
static int left = 3;

static noinline void on_timer(struct timer_list *t)
{
	unsigned long *p = kzalloc(64, GFP_ATOMIC);

	if (p)
		WRITE_ONCE(*p, 1); /* leaks p */
	if (--left)
		mod_timer(t, jiffies + HZ / 50);
}

static int __init where_timer_init(void)
{
	timer_setup(&timer, on_timer, 0);
	mod_timer(&timer, jiffies + HZ / 50);
	return 0;
}
module_init(where_timer_init);

static void __exit where_timer_exit(void)
{
	timer_delete_sync(&timer);
}
module_exit(where_timer_exit);

MODULE_DESCRIPTION("Leaks in a timer");
MODULE_LICENSE("GPL");
