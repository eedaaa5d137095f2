// SPDX-License-Identifier: GPL-2.0
/*
 * device_e1000: a PCI driver for QEMU's e1000, whose probe allocates and
 * whose remove forgets.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>

static noinline int demo_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	unsigned long *state;
	int err = pcim_enable_device(pdev);

	if (err)
		return err;
	state = kzalloc(64, GFP_KERNEL);
	if (!state)
		return -ENOMEM;
	pci_set_drvdata(pdev, state); /* leaks state: there is no remove */
	return 0;
}

static const struct pci_device_id demo_ids[] = {
	{ PCI_DEVICE(0x8086, 0x100e) }, /* hw/net/e1000.c, 82540EM */
	{ }
};
MODULE_DEVICE_TABLE(pci, demo_ids);

static struct pci_driver demo_driver = {
	.name = "device_e1000",
	.id_table = demo_ids,
	.probe = demo_probe,
};
module_pci_driver(demo_driver);

MODULE_DESCRIPTION("Leaks when it binds QEMU's e1000");
MODULE_LICENSE("GPL");
