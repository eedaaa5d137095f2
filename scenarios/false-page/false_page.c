// SPDX-License-Identifier: GPL-2.0
/*
 * false_page: an object that the driver keeps in memory of the page allocator,
 * where kmemleak does not find the pointer.
 */
#include <linux/gfp.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>

static unsigned long **page;

static noinline int hide_object(void)
{
	unsigned long *p = kzalloc(64, GFP_KERNEL);

	if (!p)
		return -ENOMEM;
	WRITE_ONCE(*p, 1);
	page = (unsigned long **)get_zeroed_page(GFP_KERNEL);
	if (!page) {
		kfree(p);
		return -ENOMEM;
	}
	*page = p;
	return 0;
}

static int __init false_page_init(void)
{
	return hide_object();
}
module_init(false_page_init);

static void __exit false_page_exit(void)
{
	kfree(*page);
	free_page((unsigned long)page);
}
module_exit(false_page_exit);

MODULE_DESCRIPTION("Keeps an object where kmemleak does not look");
MODULE_LICENSE("GPL");
