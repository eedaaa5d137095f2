// SPDX-License-Identifier: GPL-2.0
/*
 * alloc_kmem_cache: an object of an own cache is lost. The module stays
 * loaded: a cache that still has objects cannot be destroyed.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>

struct thing {
	unsigned long word[9];
};

static struct kmem_cache *cache;

static noinline int lose_thing(void)
{
	struct thing *t = kmem_cache_zalloc(cache, GFP_KERNEL);

	if (!t)
		return -ENOMEM;
	WRITE_ONCE(t->word[0], 1); /* leaks t */
	return 0;
}

static int __init alloc_kmem_cache_init(void)
{
	cache = KMEM_CACHE(thing, 0);
	if (!cache)
		return -ENOMEM;
	return lose_thing();
}
module_init(alloc_kmem_cache_init);

static void __exit alloc_kmem_cache_exit(void)
{
	kmem_cache_destroy(cache);
}
module_exit(alloc_kmem_cache_exit);

MODULE_DESCRIPTION("Leaks an object of its own cache");
MODULE_LICENSE("GPL");
