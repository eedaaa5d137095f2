// SPDX-License-Identifier: GPL-2.0
/*
 * alloc_percpu: 64 bytes for each CPU.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/slab.h>

struct counters {
	u64 value[8];
};

static noinline int lose_percpu(void)
{
	struct counters __percpu *c = alloc_percpu(struct counters);

	if (!c)
		return -ENOMEM;
	this_cpu_write(c->value[0], 1); /* leaks c */
	return 0;
}

static int __init alloc_percpu_init(void)
{
	return lose_percpu();
}
module_init(alloc_percpu_init);

static void __exit alloc_percpu_exit(void)
{
}
module_exit(alloc_percpu_exit);

MODULE_DESCRIPTION("Leaks per-CPU memory");
MODULE_LICENSE("GPL");
