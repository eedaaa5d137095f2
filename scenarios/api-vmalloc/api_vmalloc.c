// SPDX-License-Identifier: GPL-2.0
/*
 * api_vmalloc: two areas as an own vmalloc would make them: a descriptor that
 * points to its pages. One of them is known from outside as well.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/kmemleak.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

static struct vm_struct *lonely_area, *used_area;
static void *used;

/* Makes the area kmemleak's as vmalloc does: it wants two references. */
static noinline struct vm_struct *make_area(void)
{
	struct vm_struct *area = kzalloc(sizeof(*area), GFP_KERNEL);

	if (!area)
		return NULL;
	area->addr = (void *)get_zeroed_page(GFP_KERNEL);
	if (!area->addr) {
		kfree(area);
		return NULL;
	}
	kmemleak_vmalloc(area, PAGE_SIZE, GFP_KERNEL);
	return area;
}

static void free_area(struct vm_struct *area)
{
	if (!area)
		return;
	kmemleak_free(area->addr);
	free_page((unsigned long)area->addr);
	kfree(area);
}

static noinline void make_lonely(void)
{
	/* kmemleak misses one reference: only the descriptor knows the page */
	WRITE_ONCE(lonely_area, make_area());
}

static noinline void make_used(void)
{
	struct vm_struct *area = make_area();

	WRITE_ONCE(used_area, area);
	if (area)
		WRITE_ONCE(used, area->addr);
}

static int __init api_vmalloc_init(void)
{
	make_lonely();
	make_used();
	return 0;
}
module_init(api_vmalloc_init);

static void __exit api_vmalloc_exit(void)
{
	free_area(lonely_area);
	free_area(used_area);
}
module_exit(api_vmalloc_exit);

MODULE_DESCRIPTION("Registers vmalloc areas of its own");
MODULE_LICENSE("GPL");
