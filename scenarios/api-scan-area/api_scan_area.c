// SPDX-License-Identifier: GPL-2.0
/*
 * api_scan_area: an object holds two others; kmemleak is to look for pointers
 * in its first half only.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/kmemleak.h>
#include <linux/module.h>
#include <linux/slab.h>

struct pair {
	unsigned long *inside;
	unsigned long word[6];
	unsigned long *outside;
};

static struct pair *pair;

static noinline void hold_inside(void)
{
	pair->inside = kzalloc(64, GFP_KERNEL);
	barrier();
}

static noinline void hold_outside(void)
{
	pair->outside = kzalloc(64, GFP_KERNEL); /* held, but not for kmemleak */
	barrier();
}

static int __init api_scan_area_init(void)
{
	pair = kzalloc(sizeof(*pair), GFP_KERNEL);
	if (!pair)
		return -ENOMEM;
	kmemleak_scan_area(pair, sizeof(*pair) / 2, GFP_KERNEL);
	hold_inside();
	hold_outside();
	return 0;
}
module_init(api_scan_area_init);

static void __exit api_scan_area_exit(void)
{
	kfree(pair->inside);
	kfree(pair->outside);
	kfree(pair);
}
module_exit(api_scan_area_exit);

MODULE_DESCRIPTION("Holds an object outside of its scan area");
MODULE_LICENSE("GPL");
