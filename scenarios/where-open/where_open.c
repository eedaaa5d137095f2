// SPDX-License-Identifier: GPL-2.0
/*
 * where_open: every open of its debugfs file allocates a session, and there is
 * no release to free it.
 */
#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>

struct session {
	unsigned long word[8];
};

static struct dentry *file;

static noinline int session_open(struct inode *inode, struct file *filp)
{
	struct session *s = kzalloc(sizeof(*s), GFP_KERNEL);

	if (!s)
		return -ENOMEM;
	filp->private_data = s; /* leaks s: there is no release */
	return 0;
}

static const struct file_operations session_fops = {
	.owner = THIS_MODULE,
	.open = session_open,
};

static int __init where_open_init(void)
{
	file = debugfs_create_file("where_open", 0400, NULL, NULL, &session_fops);
	return 0;
}
module_init(where_open_init);

static void __exit where_open_exit(void)
{
	debugfs_remove(file);
}
module_exit(where_open_exit);

MODULE_DESCRIPTION("Leaks at every open");
MODULE_LICENSE("GPL");
