// SPDX-License-Identifier: GPL-2.0
/*
 * where_sysfs_write: every write to /sys/kernel/where_sysfs_write/name keeps a
 * copy, and forgets the one before.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/kobject.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/sysfs.h>

static struct kobject *dir;
static char *name;

static noinline ssize_t name_store(struct kobject *k, struct kobj_attribute *a,
				   const char *buf, size_t count)
{
	char *copy = kstrndup(buf, 40, GFP_KERNEL);

	if (!copy)
		return -ENOMEM;
	WRITE_ONCE(name, copy); /* leaks what name held before */
	return count;
}

static struct kobj_attribute name_attr = __ATTR_WO(name);

static int __init where_sysfs_write_init(void)
{
	dir = kobject_create_and_add("where_sysfs_write", kernel_kobj);
	if (!dir)
		return -ENOMEM;
	return sysfs_create_file(dir, &name_attr.attr);
}
module_init(where_sysfs_write_init);

static void __exit where_sysfs_write_exit(void)
{
	kobject_put(dir);
	kfree(name);
}
module_exit(where_sysfs_write_exit);

MODULE_DESCRIPTION("Leaks at every write to sysfs");
MODULE_LICENSE("GPL");
