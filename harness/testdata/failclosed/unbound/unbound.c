// SPDX-License-Identifier: GPL-2.0
/* unbound: a driver for a device that is not there. */
#include <linux/module.h>
#include <linux/platform_device.h>

static int unbound_probe(struct platform_device *pdev)
{
	return devm_kzalloc(&pdev->dev, 64, GFP_KERNEL) ? 0 : -ENOMEM;
}

static struct platform_driver unbound_driver = {
	.probe = unbound_probe,
	.driver.name = "kmemgate-unbound",
};

module_platform_driver(unbound_driver);
MODULE_DESCRIPTION("Waits for a device");
MODULE_LICENSE("GPL");
