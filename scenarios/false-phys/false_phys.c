// SPDX-License-Identifier: GPL-2.0
/*
 * false_phys: an object that the driver keeps as a physical address, where
 * kmemleak does not find the pointer.
 */
#include <linux/init.h>
#include <linux/io.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>

static phys_addr_t phys;

static noinline int hide_object(void)
{
	unsigned long *p = kzalloc(64, GFP_KERNEL);

	if (!p)
		return -ENOMEM;
	WRITE_ONCE(*p, 1);
	phys = virt_to_phys(p);
	return 0;
}

static int __init false_phys_init(void)
{
	return hide_object();
}
module_init(false_phys_init);

static void __exit false_phys_exit(void)
{
	kfree(phys_to_virt(phys));
}
module_exit(false_phys_exit);

MODULE_DESCRIPTION("Keeps an object where kmemleak does not look");
MODULE_LICENSE("GPL");
