// SPDX-License-Identifier: GPL-2.0
#include "sub/helper.h"

void schedule(void);
void kmemleak_not_leak(const void *p);
void kmemleak_no_scan(const void *p);

/* A call that no relocation of code shows. */
void (*const hooks[])(const void *p) = { kmemleak_no_scan };

/* The same name as in driver.c, as static functions of drivers have. */
static __attribute__((noinline)) void *leak_in_worker(int n)
{
	void *p = kmalloc(n, 1);

	schedule();
	return p;
}

void *second(int n)
{
	void *p = helper_alloc(n);

	if (n > 3)
		return inlined_inner(n);
	schedule();
	kmemleak_not_leak(p);
	return p ? p : leak_in_worker(n);
}
