// SPDX-License-Identifier: GPL-2.0
/*
 * api_update_trace: two objects are made by one function; one is taken over by
 * another, which makes the trace its own.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/kmemleak.h>
#include <linux/module.h>
#include <linux/slab.h>

static noinline unsigned long *make(void)
{
	unsigned long *p = kzalloc(64, GFP_KERNEL);

	if (p)
		WRITE_ONCE(*p, 1);
	return p;
}

static noinline void note_owner(unsigned long *p)
{
	kmemleak_update_trace(p);
	barrier(); /* no tail call: the frame is wanted */
}

static noinline void take_over(void)
{
	unsigned long *p = make();

	if (!p)
		return;
	note_owner(p);
	WRITE_ONCE(*p, 2); /* leaks p */
}

static noinline void lose_as_made(void)
{
	unsigned long *p = make();

	if (p)
		WRITE_ONCE(*p, 2); /* leaks p */
}

static int __init api_update_trace_init(void)
{
	take_over();
	lose_as_made();
	return 0;
}
module_init(api_update_trace_init);

static void __exit api_update_trace_exit(void)
{
}
module_exit(api_update_trace_exit);

MODULE_DESCRIPTION("Leaks an object under another trace");
MODULE_LICENSE("GPL");
