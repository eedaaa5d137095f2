// SPDX-License-Identifier: GPL-2.0
/*
 * dev_i2c: an I2C driver for a monitor's EDID, which it finds by itself, as
 * drivers of sensors do: nothing on this bus tells what is there.
 */
#include <linux/i2c.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>

static bool leak;
module_param(leak, bool, 0);
MODULE_PARM_DESC(leak, "remove forgets the state");

static noinline int dev_i2c_probe(struct i2c_client *client)
{
	u8 *header = kzalloc(8, GFP_KERNEL);
	int i;

	if (!header)
		return -ENOMEM;
	for (i = 0; i < 8; i++)
		header[i] = i2c_smbus_read_byte_data(client, i);
	dev_info(&client->dev, "EDID begins with %8ph\n", header);
	i2c_set_clientdata(client, header);
	return 0;
}

static void dev_i2c_remove(struct i2c_client *client)
{
	if (!leak)
		kfree(i2c_get_clientdata(client));
	i2c_set_clientdata(client, NULL);
}

/* An EDID begins with 00 ff ff ff ff ff ff 00. */
static int dev_i2c_detect(struct i2c_client *client, struct i2c_board_info *info)
{
	if (!i2c_check_functionality(client->adapter, I2C_FUNC_SMBUS_BYTE_DATA))
		return -ENODEV;
	if (i2c_smbus_read_byte_data(client, 0) != 0 || i2c_smbus_read_byte_data(client, 1) != 0xff)
		return -ENODEV;
	strscpy(info->type, "dev_i2c", sizeof(info->type));
	return 0;
}

static const struct i2c_device_id dev_i2c_ids[] = {
	{ "dev_i2c" },
	{ }
};
MODULE_DEVICE_TABLE(i2c, dev_i2c_ids);

static const unsigned short dev_i2c_addresses[] = { 0x30, I2C_CLIENT_END };

static struct i2c_driver dev_i2c_driver = {
	.class = I2C_CLASS_HWMON,
	.driver = { .name = "dev_i2c" },
	.id_table = dev_i2c_ids,
	.probe = dev_i2c_probe,
	.remove = dev_i2c_remove,
	.detect = dev_i2c_detect,
	.address_list = dev_i2c_addresses,
};
module_i2c_driver(dev_i2c_driver);

MODULE_DESCRIPTION("Binds an EDID on the SMBus");
MODULE_LICENSE("GPL");
