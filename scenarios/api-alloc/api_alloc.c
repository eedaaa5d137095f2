// SPDX-License-Identifier: GPL-2.0
/*
 * api_alloc: two pages are lost; kmemleak is told of one of them.
 */
#include <linux/gfp.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/kmemleak.h>
#include <linux/mm.h>
#include <linux/module.h>

/* An allocator of the driver's own, on top of pages that kmemleak cannot see. */
static unsigned long *take_page(void)
{
	return (unsigned long *)get_zeroed_page(GFP_KERNEL);
}

static noinline void lose_registered(void)
{
	unsigned long *p = take_page();

	if (!p)
		return;
	kmemleak_alloc(p, PAGE_SIZE, 1, GFP_KERNEL);
	WRITE_ONCE(*p, 1); /* leaks p */
}

static noinline void lose_unregistered(void)
{
	unsigned long *p = take_page();

	if (!p)
		return;

	WRITE_ONCE(*p, 1); /* leaks p, unseen */
}

static int __init api_alloc_init(void)
{
	lose_registered();
	lose_unregistered();
	return 0;
}
module_init(api_alloc_init);

static void __exit api_alloc_exit(void)
{
}
module_exit(api_alloc_exit);

MODULE_DESCRIPTION("Leaks registered memory");
MODULE_LICENSE("GPL");
