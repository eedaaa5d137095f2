// SPDX-License-Identifier: GPL-2.0
/* A driver without a kernel: symbols_test.go compiles it for both
 * architectures and asks addr2line what is right.
 */
#include "sub/helper.h"

#define __init __attribute__((section(".init.text")))
#define __exit __attribute__((section(".exit.text")))
#define noinline __attribute__((noinline))

void *kmalloc(unsigned long size, int flags);
void kmemleak_ignore(const void *p);
void schedule(void);

static noinline void *leak_in_worker(int n)
{
	void *p = helper_alloc(n);

	schedule();
	return p;
}

static inline __attribute__((always_inline)) void *inlined_outer(int n)
{
	void *p = inlined_inner(n + 1);

	kmemleak_ignore(p);
	return p;
}

int __init driver_init(void)
{
	void *p = kmalloc(64, 0);
	void *q = inlined_outer(3);
	int i;

	for (i = 0; i < 4; i++) {
		void *r = inlined_inner(i);

		if (r == q)
			schedule();
	}
	return p && q && leak_in_worker(1);
}

void __exit driver_exit(void)
{
	inlined_outer(7);
	schedule();
}
