// SPDX-License-Identifier: GPL-2.0
/*
 * api_free_percpu: objects are held by per-CPU memory alone; kmemleak is told
 * that one such memory is freed, and no longer looks into it.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/kmemleak.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/slab.h>

static void * __percpu *hold_known_memory;

/* Holds an object for each CPU from per-CPU memory alone. */
static noinline void hold_known(void)
{
	int cpu;

	hold_known_memory = alloc_percpu(void *);
	if (!hold_known_memory)
		return;
	for_each_possible_cpu(cpu)
		*per_cpu_ptr(hold_known_memory, cpu) = kzalloc(64, GFP_KERNEL);
}

static void * __percpu *hold_freed_memory;

/* Holds an object for each CPU from per-CPU memory alone. */
static noinline void hold_freed(void)
{
	int cpu;

	hold_freed_memory = alloc_percpu(void *);
	if (!hold_freed_memory)
		return;
	for_each_possible_cpu(cpu)
		*per_cpu_ptr(hold_freed_memory, cpu) = kzalloc(64, GFP_KERNEL);
	kmemleak_free_percpu(hold_freed_memory); /* hides what holds the objects */
}

static int __init api_free_percpu_init(void)
{
	hold_known();
	hold_freed();
	return 0;
}
module_init(api_free_percpu_init);

static void __exit api_free_percpu_exit(void)
{
}
module_exit(api_free_percpu_exit);

MODULE_DESCRIPTION("Holds objects from per-CPU memory");
MODULE_LICENSE("GPL");
