// SPDX-License-Identifier: GPL-2.0
/*
 * late: lends objects to a device, as a DMA ring does, which keeps them by their
 * physical address, where kmemleak does not look, and gives them back.
 *
 * Nothing leaks: what the first scans report is freed before the last ones. One
 * object comes back every three seconds, for the scans are six apart and the
 * first is late itself.
 */
#include <linux/init.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#define RING 8

static phys_addr_t ring[RING];
static unsigned int lent;

static void give_back(struct work_struct *work);
static DECLARE_DELAYED_WORK(device, give_back);

static void take_back(void)
{
	kfree(phys_to_virt(ring[--lent]));
}

static void give_back(struct work_struct *work)
{
	take_back();
	if (lent)
		schedule_delayed_work(&device, 3 * HZ);
}

/* Out of line, for the report to name it. */
static noinline int lend_one(void)
{
	unsigned long *p = kzalloc(64, GFP_KERNEL);

	if (!p)
		return -ENOMEM;
	WRITE_ONCE(*p, 1);
	ring[lent++] = virt_to_phys(p);
	return 0;
}

static int __init late_init(void)
{
	while (lent < RING)
		if (lend_one())
			break;
	schedule_delayed_work(&device, 3 * HZ);
	return 0;
}
module_init(late_init);

static void __exit late_exit(void)
{
	cancel_delayed_work_sync(&device);
	while (lent)
		take_back();
}
module_exit(late_exit);

MODULE_DESCRIPTION("Keeps objects by their physical address, for a while");
MODULE_LICENSE("GPL");
