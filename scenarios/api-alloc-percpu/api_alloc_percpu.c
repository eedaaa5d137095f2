// SPDX-License-Identifier: GPL-2.0
/*
 * api_alloc_percpu: objects are held by per-CPU memory alone, of which
 * kmemleak is told that it is freed, and then, of one, that it is there after
 * all.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/kmemleak.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/slab.h>

static void * __percpu *hold_hidden_memory;

/* Holds an object for each CPU from per-CPU memory alone. */
static noinline void hold_hidden(void)
{
	int cpu;

	hold_hidden_memory = alloc_percpu(void *);
	if (!hold_hidden_memory)
		return;
	for_each_possible_cpu(cpu)
		*per_cpu_ptr(hold_hidden_memory, cpu) = kzalloc(64, GFP_KERNEL);
	kmemleak_free_percpu(hold_hidden_memory); /* hides what holds the objects */
}

static void * __percpu *hold_registered_memory;

/* Holds an object for each CPU from per-CPU memory alone. */
static noinline void hold_registered(void)
{
	int cpu;

	hold_registered_memory = alloc_percpu(void *);
	if (!hold_registered_memory)
		return;
	for_each_possible_cpu(cpu)
		*per_cpu_ptr(hold_registered_memory, cpu) = kzalloc(64, GFP_KERNEL);
	kmemleak_free_percpu(hold_registered_memory);
	kmemleak_alloc_percpu(hold_registered_memory, sizeof(void *), GFP_KERNEL);
}

static int __init api_alloc_percpu_init(void)
{
	hold_hidden();
	hold_registered();
	return 0;
}
module_init(api_alloc_percpu_init);

static void __exit api_alloc_percpu_exit(void)
{
}
module_exit(api_alloc_percpu_exit);

MODULE_DESCRIPTION("Holds objects from per-CPU memory");
MODULE_LICENSE("GPL");
