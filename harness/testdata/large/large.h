/* SPDX-License-Identifier: GPL-2.0 */
/*
 * large: a module of 5 MB, nearly all of it read-only data, which kmemleak does
 * not scan (kernel/module/debug_kmemleak.c).
 */
#include <linux/init.h>
#include <linux/module.h>
#include <linux/slab.h>

static const volatile char payload[5 << 20] = "payload";

static noinline void lose(void)
{
	void *lost = kmalloc(64, GFP_KERNEL);

	OPTIMIZER_HIDE_VAR(lost);	/* leaks: nothing keeps it */
}

static int __init large_init(void)
{
	if (payload[0] != 'p' || payload[sizeof(payload) - 1])
		return -EINVAL;	/* it came damaged */
	lose();
	return 0;
}

static void __exit large_exit(void)
{
}

module_init(large_init);
module_exit(large_exit);
MODULE_DESCRIPTION("a large module that leaks an object");
MODULE_LICENSE("GPL");
