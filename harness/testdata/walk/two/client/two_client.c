// SPDX-License-Identifier: GPL-2.0
/*
 * two_client: opens a port of two_core, and forgets to close it where there is no
 * memory for its own part.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "../core/two.h"

static struct two_port *port;
static void *buffer;

static noinline int connect_port(void)
{
	port = two_open();
	if (!port)
		return -ENOMEM;
	buffer = kzalloc(1024, GFP_KERNEL);
	if (!buffer)
		return -ENOMEM; /* leaks port */
	return 0;
}

static int __init two_client_init(void)
{
	return connect_port();
}
module_init(two_client_init);

static void __exit two_client_exit(void)
{
	kfree(buffer);
	two_close(port);
}
module_exit(two_client_exit);

MODULE_DESCRIPTION("Loses a port of another module where an allocation fails");
MODULE_LICENSE("GPL");
