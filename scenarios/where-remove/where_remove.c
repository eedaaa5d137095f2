// SPDX-License-Identifier: GPL-2.0
/*
 * where_remove: a platform driver whose remove frees what probe allocated, but
 * allocates a farewell and forgets it.
 */
#include <linux/err.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/version.h>

static noinline int demo_probe(struct platform_device *pdev)
{
	unsigned long *state = kzalloc(64, GFP_KERNEL);

	if (!state)
		return -ENOMEM;
	platform_set_drvdata(pdev, state);
	return 0;
}

static noinline void say_farewell(struct platform_device *pdev)
{
	unsigned long *p = kzalloc(128, GFP_KERNEL);

	if (p)
		WRITE_ONCE(*p, 1); /* leaks p */
	kfree(platform_get_drvdata(pdev));
}

/* remove returns nothing from 6.11 on (include/linux/platform_device.h). */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 11, 0)
static int demo_remove(struct platform_device *pdev)
{
	say_farewell(pdev);
	return 0;
}
#else
static void demo_remove(struct platform_device *pdev)
{
	say_farewell(pdev);
}
#endif

static struct platform_driver demo_driver = {
	.driver = { .name = "where_remove" },
	.probe = demo_probe,
	.remove = demo_remove,
};

static struct platform_device *demo_device;

static int __init where_remove_init(void)
{
	int err = platform_driver_register(&demo_driver);

	if (err)
		return err;
	demo_device = platform_device_register_simple("where_remove", -1, NULL, 0);
	if (IS_ERR(demo_device)) {
		platform_driver_unregister(&demo_driver);
		return PTR_ERR(demo_device);
	}
	return 0;
}
module_init(where_remove_init);

static void __exit where_remove_exit(void)
{
	platform_device_unregister(demo_device);
	platform_driver_unregister(&demo_driver);
}
module_exit(where_remove_exit);

MODULE_DESCRIPTION("Leaks in remove");
MODULE_LICENSE("GPL");
