// SPDX-License-Identifier: GPL-2.0
/* A thread of the kernel's own code allocates for it, and no code of the module is on the stack. */
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/vmalloc.h>

#ifdef vmalloc /* a macro from 6.10 on */
#define vmalloc_function vmalloc_noprof
#else
#define vmalloc_function vmalloc
#endif

static int __init loses_abroad_init(void)
{
	struct task_struct *t = kthread_run((int (*)(void *))vmalloc_function, (void *)(3 * PAGE_SIZE), "abroad");

	if (IS_ERR(t))
		return PTR_ERR(t);
	msleep(20);
	return 0;
}

static void __exit loses_abroad_exit(void)
{
}

module_init(loses_abroad_init);
module_exit(loses_abroad_exit);

MODULE_DESCRIPTION("loses_abroad");
MODULE_LICENSE("GPL");
