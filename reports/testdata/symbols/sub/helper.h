/* SPDX-License-Identifier: GPL-2.0 */
void *kmalloc(unsigned long size, int flags);

static __attribute__((noinline, unused)) void *helper_alloc(int n)
{
	void *p = kmalloc(n * 3, 0);

	if (!p)
		p = kmalloc(n, 0);
	return p;
}

static inline __attribute__((always_inline)) void *inlined_inner(int n)
{
	return kmalloc(16 * n, 0);
}
