// SPDX-License-Identifier: GPL-2.0
/*
 * api_ignore_phys: two objects that only a registered page points to; one of
 * the pages is to be ignored.
 */
#include <linux/gfp.h>
#include <linux/init.h>
#include <linux/io.h>
#include <linux/kernel.h>
#include <linux/kmemleak.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>

static noinline void hold_registered(void)
{
	void **p = (void **)get_zeroed_page(GFP_KERNEL);

	if (!p)
		return;
	kmemleak_alloc_phys(virt_to_phys(p), PAGE_SIZE, GFP_KERNEL);
	WRITE_ONCE(*p, kzalloc(64, GFP_KERNEL)); /* held by p */
}

static noinline void hold_ignored(void)
{
	void **p = (void **)get_zeroed_page(GFP_KERNEL);

	if (!p)
		return;
	kmemleak_alloc_phys(virt_to_phys(p), PAGE_SIZE, GFP_KERNEL);
	kmemleak_ignore_phys(virt_to_phys(p));
	WRITE_ONCE(*p, kzalloc(64, GFP_KERNEL)); /* reported: nobody looks into p */
}

static int __init api_ignore_phys_init(void)
{
	hold_registered();
	hold_ignored();
	return 0;
}
module_init(api_ignore_phys_init);

static void __exit api_ignore_phys_exit(void)
{
}
module_exit(api_ignore_phys_exit);

MODULE_DESCRIPTION("Holds objects from pages");
MODULE_LICENSE("GPL");
