// SPDX-License-Identifier: GPL-2.0
/*
 * dev_usb: a USB driver for keyboards, which binds by the class of their
 * interface.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/usb.h>
#include <linux/usb/ch9.h>

static bool leak;
module_param(leak, bool, 0);
MODULE_PARM_DESC(leak, "disconnect forgets the state");

struct dev_usb {
	struct usb_device *udev;
	char report[64];
};

static noinline int dev_usb_probe(struct usb_interface *intf, const struct usb_device_id *id)
{
	struct dev_usb *d = kzalloc(sizeof(*d), GFP_KERNEL);

	if (!d)
		return -ENOMEM;
	d->udev = interface_to_usbdev(intf);
	dev_info(&intf->dev, "%s\n", d->udev->product ?: "without a name");
	usb_set_intfdata(intf, d);
	return 0;
}

static void dev_usb_disconnect(struct usb_interface *intf)
{
	if (!leak)
		kfree(usb_get_intfdata(intf));
	usb_set_intfdata(intf, NULL);
}

static const struct usb_device_id dev_usb_ids[] = {
	{ USB_INTERFACE_INFO(USB_CLASS_HID, 1, 1) }, /* with a boot protocol, a keyboard's */
	{ }
};
MODULE_DEVICE_TABLE(usb, dev_usb_ids);

static struct usb_driver dev_usb_driver = {
	.name = "dev_usb",
	.id_table = dev_usb_ids,
	.probe = dev_usb_probe,
	.disconnect = dev_usb_disconnect,
};
module_usb_driver(dev_usb_driver);

MODULE_DESCRIPTION("Binds a USB keyboard");
MODULE_LICENSE("GPL");
