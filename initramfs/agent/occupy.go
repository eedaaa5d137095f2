package main

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// holdings says how many objects of each slab class are taken out of
// circulation: what two or three slabs of the class hold.
var holdings = []struct{ class, count int }{
	{64, 256}, {96, 128}, {128, 96}, {192, 64}, {256, 64}, {512, 64},
	{1 << 10, 32}, {2 << 10, 32}, {4 << 10, 32}, {8 << 10, 8},
}

// xattrHead is struct simple_xattr without its value: 40 bytes, 32 before 6.2
// (include/linux/xattr.h). Either way the sum falls into the class.
const xattrHead = 40

// occupySlabs takes the free objects of half-empty slabs and keeps them, so that
// what is allocated from here on lies at addresses that nobody has used. The
// boot leaves its addresses lying about, in the dead part of every kernel
// thread's stack for one: a kworker that had sent a uevent at boot kept its
// 4 KiB buffer's address for ever, and an object leaked at that address was
// never reported (measured, 6.12; with VMAP_STACK stacks are scanned in spite
// of stack=off, as vmalloc areas).
//
// Extended attributes of a sysfs folder (kernfs keeps trusted.* in plain
// kmalloc memory) are the holders: any size, two objects each, no option of the
// kernel needed. Best effort: where it fails, the canary decides all the same.
func occupySlabs(round int) {
	value := make([]byte, 8<<10)
	for _, h := range holdings {
		for n := range h.count {
			name := fmt.Sprintf("trusted.%d-%d-%d", round, h.class, n)
			if n%2 == 0 { // the name is an object too: of 32 bytes, or of 16
				name += strings.Repeat("-", max(0, 24-len(name)))
			}
			if unix.Setxattr("/sys/kernel", name, value[:h.class-xattrHead], 0) != nil {
				return
			}
		}
	}
}
