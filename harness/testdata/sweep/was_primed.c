// SPDX-License-Identifier: GPL-2.0
/* As loses_abroad, but only where primes was loaded before it. */
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/panic.h>
#include <linux/vmalloc.h>

#ifdef vmalloc /* a macro from 6.10 on */
#define vmalloc_function vmalloc_noprof
#else
#define vmalloc_function vmalloc
#endif

static int __init was_primed_init(void)
{
	struct task_struct *t;

	if (panic_timeout != -4711)
		return 0;
	t = kthread_run((int (*)(void *))vmalloc_function, (void *)(3 * PAGE_SIZE), "abroad");
	if (IS_ERR(t))
		return PTR_ERR(t);
	msleep(20);
	return 0;
}

static void __exit was_primed_exit(void)
{
}

module_init(was_primed_init);
module_exit(was_primed_exit);

MODULE_DESCRIPTION("was_primed");
MODULE_LICENSE("GPL");
