// SPDX-License-Identifier: GPL-2.0
/*
 * alloc_kvmalloc_small: 1000 bytes from kvmalloc, which kmalloc can serve.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>

static noinline int lose_kvmalloc(void)
{
	unsigned long *p = kvmalloc(1000, GFP_KERNEL);

	if (!p)
		return -ENOMEM;
	WRITE_ONCE(*p, 1); /* leaks p */
	return 0;
}

static int __init alloc_kvmalloc_small_init(void)
{
	return lose_kvmalloc();
}
module_init(alloc_kvmalloc_small_init);

static void __exit alloc_kvmalloc_small_exit(void)
{
}
module_exit(alloc_kvmalloc_small_exit);

MODULE_DESCRIPTION("Leaks memory of kvmalloc");
MODULE_LICENSE("GPL");
