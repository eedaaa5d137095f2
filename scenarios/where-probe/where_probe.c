// SPDX-License-Identifier: GPL-2.0
/*
 * where_probe: a platform driver whose probe allocates and which has no
 * remove.
 */
#include <linux/err.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

static noinline int demo_probe(struct platform_device *pdev)
{
	unsigned long *state = kzalloc(64, GFP_KERNEL);

	if (!state)
		return -ENOMEM;
	platform_set_drvdata(pdev, state); /* leaks state at remove */
	return 0;
}

static struct platform_driver demo_driver = {
	.driver = { .name = "where_probe" },
	.probe = demo_probe,
};

static struct platform_device *demo_device;

static int __init where_probe_init(void)
{
	int err = platform_driver_register(&demo_driver);

	if (err)
		return err;
	demo_device = platform_device_register_simple("where_probe", -1, NULL, 0);
	if (IS_ERR(demo_device)) {
		platform_driver_unregister(&demo_driver);
		return PTR_ERR(demo_device);
	}
	return 0;
}
module_init(where_probe_init);

static void __exit where_probe_exit(void)
{
	platform_device_unregister(demo_device);
	platform_driver_unregister(&demo_driver);
}
module_exit(where_probe_exit);

MODULE_DESCRIPTION("Leaks in probe");
MODULE_LICENSE("GPL");
