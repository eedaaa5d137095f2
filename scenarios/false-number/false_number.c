// SPDX-License-Identifier: GPL-2.0
/*
 * false_number: an object is lost, and a table of numbers happens to hold its
 * address.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>

static unsigned long numbers[4];

static noinline void lose_one(void)
{
	unsigned long *p = kzalloc(64, GFP_KERNEL);

	if (!p)
		return;
	WRITE_ONCE(*p, 1);
	WRITE_ONCE(numbers[2], (unsigned long)p); /* leaks p: a number is no pointer */
}

static int __init false_number_init(void)
{
	lose_one();
	return 0;
}
module_init(false_number_init);

static void __exit false_number_exit(void)
{
}
module_exit(false_number_exit);

MODULE_DESCRIPTION("Leaks an object whose address is a number");
MODULE_LICENSE("GPL");
