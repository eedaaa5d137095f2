// SPDX-License-Identifier: GPL-2.0
/*
 * two_core: hands out ports. Its own load needs two tables, and gives the first
 * back where the second is not to be had.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "two.h"

static void *lanes, *names;

struct two_port *two_open(void)
{
	return kzalloc(sizeof(struct two_port), GFP_KERNEL); /* what a client loses is told here */
}
EXPORT_SYMBOL_GPL(two_open);

void two_close(struct two_port *p)
{
	kfree(p);
}
EXPORT_SYMBOL_GPL(two_close);

static int __init two_core_init(void)
{
	lanes = kzalloc(256, GFP_KERNEL);
	if (!lanes)
		return -ENOMEM;
	names = kzalloc(512, GFP_KERNEL);
	if (!names) {
		kfree(lanes);
		return -ENOMEM;
	}
	return 0;
}
module_init(two_core_init);

static void __exit two_core_exit(void)
{
	kfree(names);
	kfree(lanes);
}
module_exit(two_core_exit);

MODULE_DESCRIPTION("Hands out ports");
MODULE_LICENSE("GPL");
