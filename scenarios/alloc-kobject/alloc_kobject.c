// SPDX-License-Identifier: GPL-2.0
/*
 * alloc_kobject: a kobject that is taken out of sysfs, but not put.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/kobject.h>
#include <linux/module.h>
#include <linux/slab.h>

static noinline int lose_kobject(void)
{
	struct kobject *k = kobject_create_and_add("alloc_kobject", kernel_kobj);

	if (!k)
		return -ENOMEM;
	kobject_del(k); /* leaks k: kobject_put(k) is missing */
	return 0;
}

static int __init alloc_kobject_init(void)
{
	return lose_kobject();
}
module_init(alloc_kobject_init);

static void __exit alloc_kobject_exit(void)
{
}
module_exit(alloc_kobject_exit);

MODULE_DESCRIPTION("Leaks a kobject");
MODULE_LICENSE("GPL");
