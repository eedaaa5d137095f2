// SPDX-License-Identifier: GPL-2.0
/*
 * api_transient_leak: two orphans, of 9001 and of 9003 bytes; a write to the
 * parameter "touch" tells kmemleak that the first only seems to be one just
 * now.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/kmemleak.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>

static unsigned long disguised;

static noinline int lose_large(size_t size)
{
	unsigned long *p = kzalloc(size, GFP_KERNEL);

	if (!p)
		return -ENOMEM;
	WRITE_ONCE(*p, size); /* leaks p */
	if (size == 9001)
		disguised = ~(unsigned long)p; /* no pointer to kmemleak */
	return 0;
}

static noinline int touch(const char *val, const struct kernel_param *kp)
{
	kmemleak_transient_leak((void *)~disguised);
	return 0;
}

static const struct kernel_param_ops touch_ops = { .set = touch };
module_param_cb(touch, &touch_ops, NULL, 0200);
MODULE_PARM_DESC(touch, "calls kmemleak_transient_leak for the object of 9001 bytes");

static int __init api_transient_leak_init(void)
{
	int err = lose_large(9001);

	return err ? err : lose_large(9003);
}
module_init(api_transient_leak_init);

static void __exit api_transient_leak_exit(void)
{
}
module_exit(api_transient_leak_exit);

MODULE_DESCRIPTION("Leaks objects that seem transient");
MODULE_LICENSE("GPL");
