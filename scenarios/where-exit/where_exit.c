// SPDX-License-Identifier: GPL-2.0
/*
 * where_exit: exit allocates (a last message, say) and forgets.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>

static noinline void say_goodbye(void)
{
	unsigned long *p = kzalloc(64, GFP_KERNEL);

	if (p)
		WRITE_ONCE(*p, 1); /* leaks p */
}

static int __init where_exit_init(void)
{
	return 0;
}
module_init(where_exit_init);

static void __exit where_exit_exit(void)
{
	say_goodbye();
}
module_exit(where_exit_exit);

MODULE_DESCRIPTION("Leaks on exit");
MODULE_LICENSE("GPL");
