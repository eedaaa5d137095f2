// SPDX-License-Identifier: GPL-2.0
/*
 * api_alloc_phys: two objects that only a page of the page allocator points
 * to; kmemleak is told of one of the pages.
 */
#include <linux/gfp.h>
#include <linux/init.h>
#include <linux/io.h>
#include <linux/kernel.h>
#include <linux/kmemleak.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>

static noinline void hold_unregistered(void)
{
	void **p = (void **)get_zeroed_page(GFP_KERNEL);

	if (!p)
		return;
	WRITE_ONCE(*p, kzalloc(64, GFP_KERNEL)); /* reported: nobody looks into p */
}

static noinline void hold_registered(void)
{
	void **p = (void **)get_zeroed_page(GFP_KERNEL);

	if (!p)
		return;
	kmemleak_alloc_phys(virt_to_phys(p), PAGE_SIZE, GFP_KERNEL);
	WRITE_ONCE(*p, kzalloc(64, GFP_KERNEL)); /* held by p */
}

static int __init api_alloc_phys_init(void)
{
	hold_unregistered();
	hold_registered();
	return 0;
}
module_init(api_alloc_phys_init);

static void __exit api_alloc_phys_exit(void)
{
}
module_exit(api_alloc_phys_exit);

MODULE_DESCRIPTION("Holds objects from pages");
MODULE_LICENSE("GPL");
