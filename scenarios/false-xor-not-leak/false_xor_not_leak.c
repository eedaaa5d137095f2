// SPDX-License-Identifier: GPL-2.0
/*
 * false_xor_not_leak: an object that the driver keeps XORed with a mask, where
 * kmemleak does not find the pointer; it says so with kmemleak_not_leak.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/kmemleak.h>
#include <linux/module.h>
#include <linux/slab.h>

#define MASK (~0UL)

static unsigned long masked;

static noinline int hide_object(void)
{
	unsigned long *p = kzalloc(64, GFP_KERNEL);

	if (!p)
		return -ENOMEM;
	WRITE_ONCE(*p, 1);
	kmemleak_not_leak(p);
	masked = (unsigned long)p ^ MASK;
	return 0;
}

static int __init false_xor_not_leak_init(void)
{
	return hide_object();
}
module_init(false_xor_not_leak_init);

static void __exit false_xor_not_leak_exit(void)
{
	kfree((void *)(masked ^ MASK));
}
module_exit(false_xor_not_leak_exit);

MODULE_DESCRIPTION("Keeps an object where kmemleak does not look");
MODULE_LICENSE("GPL");
