// SPDX-License-Identifier: GPL-2.0
/*
 * Takes out of kmemleak's scans what can hold no reference to an object: parts
 * of the kernel's own data, the array of struct page, buffers; and files of sysfs
 * that nobody reads. Loaded once and unloaded, before anything is judged.
 */
#include <linux/io.h>
#include <linux/kmemleak.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sysfs.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_ring.h>
#include <linux/vmalloc.h>

struct span {
	unsigned long start;
	size_t size;
};

#include "spans.h" /* KERNEL_END, SLAB_KSET, SLAB_ATTRS, VIRTIO_BUS, spans */

/*
 * Up to Linux 6 memblock registers the array of struct page: all are scanned with
 * it, and those of pages in use once more, one by one (kmemleak_scan).
 */
static void __init leave_out_struct_pages(void)
{
	unsigned long first = PHYS_PFN(__pa(PAGE_OFFSET)), last = PHYS_PFN(__pa(high_memory - 1));
	phys_addr_t start = 0, end = 0;
	unsigned long pfn;

	for (pfn = first; pfn <= last; pfn += PAGE_SIZE / sizeof(struct page)) {
		struct page *page;
		void *map;
		phys_addr_t at;

		if (!pfn_valid(pfn))
			continue;
		map = (void *)((unsigned long)pfn_to_page(pfn) & PAGE_MASK);
		page = virt_addr_valid(map) ? virt_to_page(map) : vmalloc_to_page(map);
		if (!page)
			continue;
		at = page_to_phys(page);
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

/*
 * A page that no allocator hands out, one of the kernel's image for example, is in no
 * list: its list head holds its own address twice, and every scan looks that up. They
 * are half of the pages in use.
 */
static void __init end_lists_of_reserved_pages(void)
{
	unsigned long first = PHYS_PFN(__pa(PAGE_OFFSET)), last = PHYS_PFN(__pa(high_memory - 1));
	unsigned long pfn;

	for (pfn = first; pfn <= last; pfn++) {
		struct page *page;

		if (!pfn_valid(pfn))
			continue;
		page = pfn_to_page(pfn);
		if (PageReserved(page) && list_empty(&page->lru))
			page->lru = (struct list_head){};
	}
}

/*
 * A cache of the slab allocator has some 30 files in sysfs: three in five of all nodes
 * there, one in six of all objects. All go but those of kmemleak's records, which
 * the agent reads.
 */
static void __init remove_files_of_slab_caches(void)
{
	struct kset *caches = *(struct kset **)SLAB_KSET;
	struct kobject *cache;

	list_for_each_entry(cache, &caches->list, entry)
		if (strcmp(kobject_name(cache), "kmemleak_object"))
			sysfs_remove_files(cache, (void *)SLAB_ATTRS);
}

/* What a console's host is to write to is in its queues, a page each. */
static int __init leave_out_buffers(struct device *dev, void *unused)
{
	struct virtio_device *console = dev_to_virtio(dev);
	struct virtqueue *queue;

	if (console->id.device != VIRTIO_ID_CONSOLE || virtio_has_feature(console, VIRTIO_F_RING_PACKED) ||
	    virtio_has_feature(console, VIRTIO_F_ACCESS_PLATFORM))
		return 0;
	virtio_device_for_each_vq(console, queue) {
		const struct vring *ring = virtqueue_get_vring(queue);
		unsigned int i;

		for (i = 0; !queue->num_free && i < ring->num; i++) /* full: all are the host's */
			kmemleak_no_scan(phys_to_virt(virtio64_to_cpu(console, ring->desc[i].addr)));
	}
	return 0;
}

static int __init noscan_init(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(spans); i++)
		kmemleak_free_part((void *)spans[i].start, spans[i].size);
	leave_out_struct_pages();
	end_lists_of_reserved_pages();
	if (SLAB_KSET && SLAB_ATTRS)
		remove_files_of_slab_caches();
	if (VIRTIO_BUS)
		bus_for_each_dev((void *)VIRTIO_BUS, NULL, NULL, leave_out_buffers);
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
