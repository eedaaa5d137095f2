// SPDX-License-Identifier: GPL-2.0
/*
 * where_ioctl: every ioctl of its debugfs file allocates a reply and forgets
 * it.
 */
#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>

static struct dentry *file;

static noinline long reply_ioctl(struct file *filp, unsigned int cmd,
				 unsigned long arg)
{
	unsigned long *reply = kzalloc(64, GFP_KERNEL);

	if (!reply)
		return -ENOMEM;
	WRITE_ONCE(*reply, cmd); /* leaks reply */
	return -ENOTTY;
}

static const struct file_operations reply_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.unlocked_ioctl = reply_ioctl,
};

static int __init where_ioctl_init(void)
{
	file = debugfs_create_file("where_ioctl", 0600, NULL, NULL, &reply_fops);
	return 0;
}
module_init(where_ioctl_init);

static void __exit where_ioctl_exit(void)
{
	debugfs_remove(file);
}
module_exit(where_ioctl_exit);

MODULE_DESCRIPTION("Leaks at every ioctl");
MODULE_LICENSE("GPL");
