// SPDX-License-Identifier: GPL-2.0
/*
 * api_free_recursive: two objects are lost; kmemleak is told that both are
 * freed, of one with the flag of caches that are not to be traced.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/kmemleak.h>
#include <linux/module.h>
#include <linux/slab.h>

static noinline void lose_traced(void)
{
	unsigned long *p = kzalloc(64, GFP_KERNEL);

	if (!p)
		return;
	WRITE_ONCE(*p, 1);
	kmemleak_free_recursive(p, 0); /* leaks p, unseen */
}

static noinline void lose_untraced(void)
{
	unsigned long *p = kzalloc(64, GFP_KERNEL);

	if (!p)
		return;
	WRITE_ONCE(*p, 1);
	kmemleak_free_recursive(p, SLAB_NOLEAKTRACE); /* leaks p */
}

static int __init api_free_recursive_init(void)
{
	lose_traced();
	lose_untraced();
	return 0;
}
module_init(api_free_recursive_init);

static void __exit api_free_recursive_exit(void)
{
}
module_exit(api_free_recursive_exit);

MODULE_DESCRIPTION("Leaks unregistered memory");
MODULE_LICENSE("GPL");
