// SPDX-License-Identifier: GPL-2.0
/*
 * where_per_cycle: every load allocates and forgets.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>

static noinline void set_up(void)
{
	unsigned long *p = kzalloc(64, GFP_KERNEL);

	if (p)
		WRITE_ONCE(*p, 1); /* leaks p */
}

static int __init where_per_cycle_init(void)
{
	set_up();
	return 0;
}
module_init(where_per_cycle_init);

static void __exit where_per_cycle_exit(void)
{
}
module_exit(where_per_cycle_exit);

MODULE_DESCRIPTION("Leaks at every load");
MODULE_LICENSE("GPL");
