// SPDX-License-Identifier: GPL-2.0
/*
 * note: a file in debugfs that keeps what was written to it last.
 *
 * The broken driver: exit frees the note but not its text, at every unload 240
 * bytes, which take 256 of slab. The repaired one stands in clean.
 */
#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#define NOTE_SIZE 240

struct note {
	struct dentry *file;
	size_t len;
	char *text;
};

static struct note *note;

static ssize_t note_read(struct file *file, char __user *to, size_t count,
			 loff_t *pos)
{
	return simple_read_from_buffer(to, count, pos, note->text, note->len);
}

static ssize_t note_write(struct file *file, const char __user *from,
			  size_t count, loff_t *pos)
{
	ssize_t n = simple_write_to_buffer(note->text, NOTE_SIZE, pos, from, count);

	if (n > 0)
		note->len = *pos;
	return n;
}

static const struct file_operations note_fops = {
	.owner = THIS_MODULE,
	.read = note_read,
	.write = note_write,
};

/* Kept out of line, so that a report names the function that allocated. */
static noinline struct note *note_create(void)
{
	struct note *n = kzalloc(sizeof(*n), GFP_KERNEL);

	if (!n)
		return NULL;
	n->text = kzalloc(NOTE_SIZE, GFP_KERNEL);
	if (!n->text) {
		kfree(n);
		return NULL;
	}
	return n;
}

static int __init note_init(void)
{
	note = note_create();
	if (!note)
		return -ENOMEM;
	note->file = debugfs_create_file("note", 0600, NULL, NULL, &note_fops);
	return 0;
}

static void __exit note_exit(void)
{
	debugfs_remove(note->file);
	/* kfree(note->text) is missing: this leaks it. */
	kfree(note);
}

module_init(note_init);
module_exit(note_exit);
MODULE_DESCRIPTION("Keeps a note in debugfs");
MODULE_LICENSE("GPL");
