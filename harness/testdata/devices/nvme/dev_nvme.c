// SPDX-License-Identifier: GPL-2.0
/*
 * dev_nvme: a PCI driver for NVMe controllers, which binds by their class, as
 * the kernel's own does.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>

static bool leak;
module_param(leak, bool, 0);
MODULE_PARM_DESC(leak, "remove forgets the state");

static noinline int dev_nvme_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	u64 *cap;
	void __iomem *bar;
	int err = pcim_enable_device(pdev);

	if (err)
		return err;
	bar = pcim_iomap(pdev, 0, 0);
	if (!bar)
		return -ENODEV;
	cap = kzalloc(sizeof(*cap), GFP_KERNEL);
	if (!cap)
		return -ENOMEM;
	*cap = readl(bar); /* CAP: the queues' length, less one, is in its low bits */
	dev_info(&pdev->dev, "%llu entries in a queue\n", (*cap & 0xffff) + 1);
	pci_set_drvdata(pdev, cap);
	return 0;
}

static void dev_nvme_remove(struct pci_dev *pdev)
{
	if (!leak)
		kfree(pci_get_drvdata(pdev));
}

static const struct pci_device_id dev_nvme_ids[] = {
	{ PCI_DEVICE_CLASS(PCI_CLASS_STORAGE_EXPRESS, 0xffffff) },
	{ }
};
MODULE_DEVICE_TABLE(pci, dev_nvme_ids);

static struct pci_driver dev_nvme_driver = {
	.name = "dev_nvme",
	.id_table = dev_nvme_ids,
	.probe = dev_nvme_probe,
	.remove = dev_nvme_remove,
};
module_pci_driver(dev_nvme_driver);

MODULE_DESCRIPTION("Binds an NVMe controller");
MODULE_LICENSE("GPL");
