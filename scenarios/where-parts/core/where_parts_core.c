// SPDX-License-Identifier: GPL-2.0
/*
 * where_parts_core: hands out sessions, which are the caller's to close.
 */
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "parts.h"

struct parts_session *parts_open(unsigned long id)
{
	struct parts_session *s;

	s = kzalloc(sizeof(*s), GFP_KERNEL); /* what a client loses is told here */
	if (s)
		s->id = id;
	return s;
}
EXPORT_SYMBOL_GPL(parts_open);

void parts_close(struct parts_session *s)
{
	kfree(s);
}
EXPORT_SYMBOL_GPL(parts_close);

MODULE_DESCRIPTION("Hands out sessions");
MODULE_LICENSE("GPL");
