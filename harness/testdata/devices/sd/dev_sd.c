// SPDX-License-Identifier: GPL-2.0
/*
 * dev_sd: a driver for SD memory cards, in the place of mmc_block.
 */
#include <linux/device.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/mmc/card.h>
#include <linux/module.h>
#include <linux/slab.h>

static bool leak;
module_param(leak, bool, 0);
MODULE_PARM_DESC(leak, "remove forgets the state");

/* drivers/mmc/core/bus.h, which is no header for drivers outside of it. */
struct mmc_driver {
	struct device_driver drv;
	int (*probe)(struct mmc_card *card);
	void (*remove)(struct mmc_card *card);
	void (*shutdown)(struct mmc_card *card);
};

int mmc_register_driver(struct mmc_driver *drv);
void mmc_unregister_driver(struct mmc_driver *drv);

struct dev_sd {
	u32 cid[4];
	char name[24];
};

static noinline int dev_sd_probe(struct mmc_card *card)
{
	struct dev_sd *d = kzalloc(sizeof(*d), GFP_KERNEL);

	if (!d)
		return -ENOMEM;
	memcpy(d->cid, card->raw_cid, sizeof(d->cid));
	dev_info(&card->dev, "%s\n", card->cid.prod_name);
	dev_set_drvdata(&card->dev, d);
	return 0;
}

static void dev_sd_remove(struct mmc_card *card)
{
	if (!leak)
		kfree(dev_get_drvdata(&card->dev));
	dev_set_drvdata(&card->dev, NULL);
}

static struct mmc_driver dev_sd_driver = {
	.drv = { .name = "dev_sd", .owner = THIS_MODULE },
	.probe = dev_sd_probe,
	.remove = dev_sd_remove,
};

static int __init dev_sd_init(void)
{
	return mmc_register_driver(&dev_sd_driver);
}
module_init(dev_sd_init);

static void __exit dev_sd_exit(void)
{
	mmc_unregister_driver(&dev_sd_driver);
}
module_exit(dev_sd_exit);

MODULE_DESCRIPTION("Binds an SD memory card");
MODULE_LICENSE("GPL");
