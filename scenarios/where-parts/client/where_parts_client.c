// SPDX-License-Identifier: GPL-2.0
/*
 * where_parts_client: opens two sessions of where_parts_core, and closes one.
 */
#include <linux/init.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "../core/parts.h"

static struct parts_session *held;

static noinline void client_note(void)
{
	unsigned long *p = kzalloc(96, GFP_KERNEL);

	if (p)
		WRITE_ONCE(*p, 1); /* leaks p */
}

static noinline void client_greet(void)
{
	struct parts_session *s = parts_open(2);

	if (s)
		WRITE_ONCE(s->name[0], 'x'); /* leaks s */
}

static int __init where_parts_client_init(void)
{
	held = parts_open(1);
	if (!held)
		return -ENOMEM;
	client_greet();
	client_note();
	return 0;
}
module_init(where_parts_client_init);

static void __exit where_parts_client_exit(void)
{
	parts_close(held);
}
module_exit(where_parts_client_exit);

MODULE_DESCRIPTION("Leaks what a helper of another module gave it");
MODULE_LICENSE("GPL");
