// SPDX-License-Identifier: GPL-2.0
/*
 * algo_vmalloc: a table in vmalloc memory holds the object.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

static void **table;

static int __init algo_vmalloc_init(void)
{
	table = vzalloc(3 * PAGE_SIZE);
	if (!table)
		return -ENOMEM;
	table[1000] = kzalloc(64, GFP_KERNEL); /* on the second page */
	return 0;
}
module_init(algo_vmalloc_init);

static void __exit algo_vmalloc_exit(void)
{
	kfree(table[1000]);
	vfree(table);
}
module_exit(algo_vmalloc_exit);

MODULE_DESCRIPTION("An object held from vmalloc memory");
MODULE_LICENSE("GPL");
