// SPDX-License-Identifier: GPL-2.0
/*
 * algo_percpu: one object for each CPU, held by a per-CPU variable.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/slab.h>

static DEFINE_PER_CPU(void *, held);

static int __init algo_percpu_init(void)
{
	int cpu;

	for_each_possible_cpu(cpu)
		per_cpu(held, cpu) = kzalloc(64, GFP_KERNEL);
	return 0;
}
module_init(algo_percpu_init);

static void __exit algo_percpu_exit(void)
{
	int cpu;

	for_each_possible_cpu(cpu)
		kfree(per_cpu(held, cpu));
}
module_exit(algo_percpu_exit);

MODULE_DESCRIPTION("Objects held by a per-CPU variable");
MODULE_LICENSE("GPL");
