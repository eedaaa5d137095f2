// SPDX-License-Identifier: GPL-2.0
/*
 * alloc_mempool: a mempool of two elements.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/mempool.h>
#include <linux/module.h>
#include <linux/slab.h>

static noinline int lose_mempool(void)
{
	mempool_t *pool = mempool_create_kmalloc_pool(2, 64);

	if (!pool)
		return -ENOMEM;
	WRITE_ONCE(pool->pool_data, pool->pool_data); /* leaks pool */
	return 0;
}

static int __init alloc_mempool_init(void)
{
	return lose_mempool();
}
module_init(alloc_mempool_init);

static void __exit alloc_mempool_exit(void)
{
}
module_exit(alloc_mempool_exit);

MODULE_DESCRIPTION("Leaks a mempool");
MODULE_LICENSE("GPL");
