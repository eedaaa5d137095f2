// SPDX-License-Identifier: GPL-2.0
/*
 * api_no_scan: two objects are held by variables and hold a child each; one of
 * the two is not to be scanned.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/kmemleak.h>
#include <linux/module.h>
#include <linux/slab.h>

struct thing {
	struct thing *next;
	unsigned long word[7];
};

static struct thing *scanned;

static noinline void hold_scanned(void)
{
	scanned = kzalloc(sizeof(*scanned), GFP_KERNEL);
	if (!scanned)
		return;
	WRITE_ONCE(scanned->next, kzalloc(64, GFP_KERNEL)); /* held */
}

static struct thing *unscanned;

static noinline void hold_unscanned(void)
{
	unscanned = kzalloc(sizeof(*unscanned), GFP_KERNEL);
	if (!unscanned)
		return;
	kmemleak_no_scan(unscanned);
	WRITE_ONCE(unscanned->next, kzalloc(64, GFP_KERNEL)); /* held, but not for kmemleak */
}

static int __init api_no_scan_init(void)
{
	hold_scanned();
	hold_unscanned();
	return 0;
}
module_init(api_no_scan_init);

static void __exit api_no_scan_exit(void)
{
	kfree(scanned->next);
	kfree(scanned);
	kfree(unscanned->next);
	kfree(unscanned);
}
module_exit(api_no_scan_exit);

MODULE_DESCRIPTION("Holds an object that is not scanned");
MODULE_LICENSE("GPL");
