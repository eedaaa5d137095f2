// SPDX-License-Identifier: GPL-2.0
/* Changes the kernel for whoever comes after it. */
#include <linux/module.h>
#include <linux/panic.h>

static int __init primes_init(void)
{
	panic_timeout = -4711;
	return 0;
}

static void __exit primes_exit(void)
{
}

module_init(primes_init);
module_exit(primes_exit);

MODULE_DESCRIPTION("primes");
MODULE_LICENSE("GPL");
