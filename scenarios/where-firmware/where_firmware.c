// SPDX-License-Identifier: GPL-2.0
/*
 * where_firmware: loads firmware and loses its copy of it. Without the file
 * there is nothing to lose, for the driver does not load.
 */
#include <linux/device.h>
#include <linux/firmware.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>

#define FIRMWARE "where-firmware.bin"

static noinline int lose_firmware(const struct firmware *fw)
{
	void *copy = kmemdup(fw->data, fw->size, GFP_KERNEL);

	if (!copy)
		return -ENOMEM;
	pr_info("where_firmware: %zu bytes\n", fw->size);
	return 0; /* the leak: nobody keeps the copy */
}

static int __init where_firmware_init(void)
{
	struct device *dev = root_device_register("where_firmware");
	const struct firmware *fw;
	int err;

	if (IS_ERR(dev))
		return PTR_ERR(dev);
	err = request_firmware(&fw, FIRMWARE, dev);
	if (!err) {
		err = lose_firmware(fw);
		release_firmware(fw);
	}
	root_device_unregister(dev);
	return err;
}
module_init(where_firmware_init);

static void __exit where_firmware_exit(void)
{
}
module_exit(where_firmware_exit);

MODULE_FIRMWARE(FIRMWARE);
MODULE_DESCRIPTION("Loses its copy of the firmware it asks for");
MODULE_LICENSE("GPL");
