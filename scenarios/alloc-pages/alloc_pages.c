// SPDX-License-Identifier: GPL-2.0
/*
 * alloc_pages: one page from the page allocator, lost. No report: kmemleak
 * does not track pages, and a driver that leaks them has to be found by other
 * means.
 */
#include <linux/gfp.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>

static noinline int lose_page(void)
{
	unsigned long *p = (unsigned long *)__get_free_page(GFP_KERNEL);

	if (!p)
		return -ENOMEM;
	WRITE_ONCE(*p, 1); /* leaks the page, unseen */
	return 0;
}

static int __init alloc_pages_init(void)
{
	return lose_page();
}
module_init(alloc_pages_init);

static void __exit alloc_pages_exit(void)
{
}
module_exit(alloc_pages_exit);

MODULE_DESCRIPTION("Leaks a page");
MODULE_LICENSE("GPL");
