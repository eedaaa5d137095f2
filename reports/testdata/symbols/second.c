// SPDX-License-Identifier: GPL-2.0
#include "sub/helper.h"

void schedule(void);

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
	return p ? p : leak_in_worker(n);
}
