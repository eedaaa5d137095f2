// SPDX-License-Identifier: GPL-2.0
/*
 * alloc_devm: a device that is unregistered with one reference too many.
 */
#include <linux/device.h>
#include <linux/err.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>

static noinline int lose_device(void)
{
	struct device *dev = root_device_register("alloc_devm");
	unsigned long *p;

	if (IS_ERR(dev))
		return PTR_ERR(dev);
	p = devm_kzalloc(dev, 200, GFP_KERNEL);
	if (p)
		WRITE_ONCE(*p, 1);
	get_device(dev); /* leaks dev, and p with it: there is no put_device */
	root_device_unregister(dev);
	return p ? 0 : -ENOMEM;
}

static int __init alloc_devm_init(void)
{
	return lose_device();
}
module_init(alloc_devm_init);

static void __exit alloc_devm_exit(void)
{
}
module_exit(alloc_devm_exit);

MODULE_DESCRIPTION("Leaks a device and what it manages");
MODULE_LICENSE("GPL");
