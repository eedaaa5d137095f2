// SPDX-License-Identifier: GPL-2.0
/*
 * api_ignore_percpu: two pieces of per-CPU memory are lost; one of them is to
 * be ignored.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/kmemleak.h>
#include <linux/module.h>
#include <linux/percpu.h>

static noinline void lose_known(void)
{
	u64 __percpu *p = alloc_percpu(u64);

	if (!p)
		return;
	this_cpu_write(*p, 1); /* leaks p */
}

static noinline void lose_ignored(void)
{
	u64 __percpu *p = alloc_percpu(u64);

	if (!p)
		return;
	this_cpu_write(*p, 1);
	kmemleak_ignore_percpu(p); /* leaks p, unseen */
}

static int __init api_ignore_percpu_init(void)
{
	lose_known();
	lose_ignored();
	return 0;
}
module_init(api_ignore_percpu_init);

static void __exit api_ignore_percpu_exit(void)
{
}
module_exit(api_ignore_percpu_exit);

MODULE_DESCRIPTION("Leaks per-CPU memory");
MODULE_LICENSE("GPL");
