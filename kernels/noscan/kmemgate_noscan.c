// SPDX-License-Identifier: GPL-2.0
/*
 * Takes out of kmemleak's scans what can hold no reference to an object: parts
 * of the kernel's own data, and the array of struct page. Loaded once and
 * unloaded, before anything is judged.
 */
#include <linux/io.h>
#include <linux/kmemleak.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/vmalloc.h>

struct span {
	unsigned long start;
	size_t size;
};

#include "spans.h" /* KERNEL_END, spans */

/*
 * Up to Linux 6 memblock registers the array of struct page: all are scanned with
 * it, and those of pages in use once more, one by one (kmemleak_scan).
 */
static void __init leave_out_struct_pages(void)
{
	unsigned long last = PHYS_PFN(virt_to_phys(high_memory - 1));
	phys_addr_t start = 0, end = 0;
	unsigned long pfn;

	for (pfn = 0; pfn <= last; pfn += PAGE_SIZE / sizeof(struct page)) {
		void *map;
		phys_addr_t at;

		if (!pfn_valid(pfn))
			continue;
		map = (void *)((unsigned long)pfn_to_page(pfn) & PAGE_MASK);
		at = virt_addr_valid(map) ? virt_to_phys(map) : PFN_PHYS(vmalloc_to_pfn(map));
		if (at != end) {
			if (end)
				kmemleak_free_part_phys(start, end - start);
			start = at;
		}
		end = at + PAGE_SIZE;
	}
	if (end)
		kmemleak_free_part_phys(start, end - start);
}

/*
 * On arm64 the kernel's image lies in vmalloc space. The vmap_area of it and of its
 * guard page is scanned, and its end is the address of what vmalloc puts there: a
 * reference that would hide a leak for ever.
 */
static void __init occupy_end_of_image(void)
{
	void *end = (void *)PAGE_ALIGN(KERNEL_END) + PAGE_SIZE;
	void **page, **lower = NULL;

	if (!is_vmalloc_addr(end))
		return;
	vm_unmap_aliases(); /* frees what this module's file took to be read */
	while ((page = vmalloc(1)) && (void *)page < end) { /* the lowest that is free */
		*page = lower;
		lower = page;
	}
	if (page == end)
		kmemleak_ignore(page); /* stays for good */
	else
		vfree(page);
	for (; lower; lower = page) {
		page = *lower;
		vfree(lower);
	}
}

static int __init noscan_init(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(spans); i++)
		kmemleak_free_part((void *)spans[i].start, spans[i].size);
	leave_out_struct_pages();
	occupy_end_of_image();
	return 0;
}
module_init(noscan_init);

static void __exit noscan_exit(void)
{
}
module_exit(noscan_exit);

MODULE_DESCRIPTION("Less for kmemleak to scan");
MODULE_LICENSE("GPL");
MODULE_INFO(intree, "Y"); /* the taint is for the module under test */
