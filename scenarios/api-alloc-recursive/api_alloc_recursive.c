// SPDX-License-Identifier: GPL-2.0
/*
 * api_alloc_recursive: two pages are lost; kmemleak is told of both, of one
 * with the flag of caches that are not to be traced.
 */
#include <linux/gfp.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/kmemleak.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>

/* An allocator of the driver's own, on top of pages that kmemleak cannot see. */
static unsigned long *take_page(void)
{
	return (unsigned long *)get_zeroed_page(GFP_KERNEL);
}

static noinline void lose_traced(void)
{
	unsigned long *p = take_page();

	if (!p)
		return;
	kmemleak_alloc_recursive(p, PAGE_SIZE, 1, 0, GFP_KERNEL);
	WRITE_ONCE(*p, 1); /* leaks p */
}

static noinline void lose_untraced(void)
{
	unsigned long *p = take_page();

	if (!p)
		return;
	kmemleak_alloc_recursive(p, PAGE_SIZE, 1, SLAB_NOLEAKTRACE, GFP_KERNEL);
	WRITE_ONCE(*p, 1); /* leaks p, unseen */
}

static int __init api_alloc_recursive_init(void)
{
	lose_traced();
	lose_untraced();
	return 0;
}
module_init(api_alloc_recursive_init);

static void __exit api_alloc_recursive_exit(void)
{
}
module_exit(api_alloc_recursive_exit);

MODULE_DESCRIPTION("Leaks registered memory");
MODULE_LICENSE("GPL");
