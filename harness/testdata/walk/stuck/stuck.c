// SPDX-License-Identifier: GPL-2.0
/*
 * stuck: can do without its first buffer, but takes a reference to itself then
 * that it never drops. Its second error path is right.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>

static void *spare, *buffer;

static noinline void take_spare(void)
{
	spare = kzalloc(96, GFP_KERNEL);
	if (!spare)
		__module_get(THIS_MODULE);
}

static int __init stuck_init(void)
{
	take_spare();
	buffer = kzalloc(192, GFP_KERNEL);
	if (!buffer) {
		kfree(spare);
		return -ENOMEM;
	}
	return 0;
}
module_init(stuck_init);

static void __exit stuck_exit(void)
{
	kfree(buffer);
	kfree(spare);
}
module_exit(stuck_exit);

MODULE_DESCRIPTION("Cannot be unloaded once an allocation has failed");
MODULE_LICENSE("GPL");
