// SPDX-License-Identifier: GPL-2.0
/*
 * api_not_leak_phys: calls kmemleak_not_leak_phys, which kernels before 6.0 had.
 */
#include <linux/init.h>
#include <linux/io.h>
#include <linux/kernel.h>
#include <linux/kmemleak.h>
#include <linux/module.h>
#include <linux/slab.h>

static int __init api_not_leak_phys_init(void)
{
	void *p = kzalloc(64, GFP_KERNEL);

	if (!p)
		return -ENOMEM;
	kmemleak_not_leak_phys(virt_to_phys(p));
	kfree(p);
	return 0;
}
module_init(api_not_leak_phys_init);

static void __exit api_not_leak_phys_exit(void)
{
}
module_exit(api_not_leak_phys_exit);

MODULE_DESCRIPTION("Calls a function that the kernel no longer has");
MODULE_LICENSE("GPL");
