// SPDX-License-Identifier: GPL-2.0
/*
 * alloc_kvmalloc_large: 5 MiB from kvmalloc: more than kmalloc has to give, so
 * that vmalloc serves it.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sizes.h>
#include <linux/slab.h>

static noinline int lose_kvmalloc(void)
{
	unsigned long *p = kvmalloc(5 * SZ_1M, GFP_KERNEL);

	if (!p)
		return -ENOMEM;
	WRITE_ONCE(*p, 1); /* leaks p */
	return 0;
}

static int __init alloc_kvmalloc_large_init(void)
{
	return lose_kvmalloc();
}
module_init(alloc_kvmalloc_large_init);

static void __exit alloc_kvmalloc_large_exit(void)
{
}
module_exit(alloc_kvmalloc_large_exit);

MODULE_DESCRIPTION("Leaks memory of kvmalloc");
MODULE_LICENSE("GPL");
