// SPDX-License-Identifier: GPL-2.0
/*
 * api_free_part_phys: two objects that only a registered page points to;
 * kmemleak is told that one of the pages is freed.
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

static noinline void hold_freed(void)
{
	void **p = (void **)get_zeroed_page(GFP_KERNEL);

	if (!p)
		return;
	kmemleak_alloc_phys(virt_to_phys(p), PAGE_SIZE, GFP_KERNEL);
	kmemleak_free_part_phys(virt_to_phys(p), PAGE_SIZE);
	WRITE_ONCE(*p, kzalloc(64, GFP_KERNEL)); /* reported: nobody looks into p */
}

static int __init api_free_part_phys_init(void)
{
	hold_registered();
	hold_freed();
	return 0;
}
module_init(api_free_part_phys_init);

static void __exit api_free_part_phys_exit(void)
{
}
module_exit(api_free_part_phys_exit);

MODULE_DESCRIPTION("Holds objects from pages");
MODULE_LICENSE("GPL");
