// SPDX-License-Identifier: GPL-2.0
/*
 * where_inlined: a helper that the compiler folds into its caller allocates; no
 * frame of the backtrace has its name.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>

static __always_inline unsigned long *new_entry(void)
{
	return kzalloc(64, GFP_KERNEL);
}

static noinline int fill_table(void)
{
	unsigned long *p = new_entry();

	if (!p)
		return -ENOMEM;
	WRITE_ONCE(*p, 1); /* leaks p */
	return 0;
}

static int __init where_inlined_init(void)
{
	return fill_table();
}
module_init(where_inlined_init);

static void __exit where_inlined_exit(void)
{
}
module_exit(where_inlined_exit);

MODULE_DESCRIPTION("Leaks what an inlined helper allocates");
MODULE_LICENSE("GPL");
