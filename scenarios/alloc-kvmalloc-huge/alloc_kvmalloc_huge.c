// SPDX-License-Identifier: GPL-2.0
/*
 * alloc_kvmalloc_huge: 5 MiB from kvmalloc, which vmalloc serves with huge
 * pages and so aligns to 2 MiB. The hole in the address space that this leaves
 * below the area has a vmap_area of its own, whose va_end is the area's
 * address: to kmemleak the second reference, besides the vm_struct's. A write
 * to the parameter "fill" fills the hole.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

static unsigned long disguised; /* no pointer to kmemleak */
static void *filler;

static noinline int lose_kvmalloc(void)
{
	unsigned long *p = kvmalloc(5 * SZ_1M, GFP_KERNEL);

	if (!p)
		return -ENOMEM;
	disguised = ~(unsigned long)p;
	WRITE_ONCE(*p, 1); /* leaks p */
	return 0;
}

/*
 * The largest area that fits below the lost one fills the hole: with the guard
 * page behind it, it ends where that begins.
 */
static noinline int fill(const char *val, const struct kernel_param *kp)
{
	unsigned long size;

	for (size = SZ_2M; size; size -= PAGE_SIZE) {
		void *q = vmalloc(size);

		if (!q)
			return -ENOMEM;
		if ((unsigned long)q + size + PAGE_SIZE == ~disguised) {
			filler = q;
			return 0;
		}
		vfree(q);
	}
	return -ENOENT;
}

static const struct kernel_param_ops fill_ops = { .set = fill };
module_param_cb(fill, &fill_ops, NULL, 0200);
MODULE_PARM_DESC(fill, "fills the hole below the lost area");

static int __init alloc_kvmalloc_huge_init(void)
{
	return lose_kvmalloc();
}
module_init(alloc_kvmalloc_huge_init);

static void __exit alloc_kvmalloc_huge_exit(void)
{
	vfree(filler);
}
module_exit(alloc_kvmalloc_huge_exit);

MODULE_DESCRIPTION("Leaks memory of kvmalloc in huge pages");
MODULE_LICENSE("GPL");
