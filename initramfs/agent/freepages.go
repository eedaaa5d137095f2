package main

import "golang.org/x/sys/unix"

const (
	// maxTaken bounds what that costs a large guest.
	maxTaken = 256 << 20
	// leftFree is what the kernel keeps for itself meanwhile.
	leftFree = 8 << 20
)

// takeFreePages takes nearly all free memory and gives it back, for the sake of
// speed. A page that nobody has had yet has a list head that points to itself
// (mm/mm_init.c, __init_single_page), and kmemleak, which scans the memory map,
// looks both words up in its tree: 63,000 of a scan's 170,000 look-ups in a guest
// of 128 MB (measured, 6.12). In one that was taken from a list they are
// LIST_POISON1 and 2, which are no kernel addresses.
func takeFreePages() {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return
	}
	size := min(int64(info.Freeram)*int64(info.Unit)-leftFree, maxTaken)
	if size <= 0 {
		return
	}
	pages, err := unix.Mmap(-1, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE)
	if err == nil {
		_ = unix.Munmap(pages)
	}
}
