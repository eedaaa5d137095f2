// SPDX-License-Identifier: GPL-2.0
/*
 * algo_percpu_alloc: one object for each CPU, held by per-CPU memory.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/slab.h>

static void * __percpu *held;

static int __init algo_percpu_alloc_init(void)
{
	int cpu;

	held = alloc_percpu(void *);
	if (!held)
		return -ENOMEM;
	for_each_possible_cpu(cpu)
		*per_cpu_ptr(held, cpu) = kzalloc(64, GFP_KERNEL);
	return 0;
}
module_init(algo_percpu_alloc_init);

static void __exit algo_percpu_alloc_exit(void)
{
	int cpu;

	for_each_possible_cpu(cpu)
		kfree(*per_cpu_ptr(held, cpu));
	free_percpu(held);
}
module_exit(algo_percpu_alloc_exit);

MODULE_DESCRIPTION("Objects held by per-CPU memory");
MODULE_LICENSE("GPL");
