package main

import (
	"bytes"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// holding says how many objects of a slab class are taken out of circulation.
type holding struct{ class, count int }

// What two or three slabs of each class hold; of the large ones half is taken later.
var (
	largeHoldings = []holding{{8 << 10, 4}, {4 << 10, 16}, {2 << 10, 16}, {1 << 10, 16}}
	smallHoldings = []holding{{512, 64}, {256, 64}, {192, 64}, {128, 96}, {96, 128}, {64, 256}}
)

// The holders' names are objects too, of two classes.
const (
	shortName = 16
	longName  = 32
)

// What fillSlabs takes of a class at most: of all that lies free, and of what the
// short wait for a job has used. The object freed last is the next one handed out,
// so that these are the first to be taken.
const (
	allFree  = 512
	waitFree = 64
)

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
// Extended attributes of sysfs folders (kernfs keeps trusted.* in plain kmalloc
// memory) are the holders: any size, two objects each, no option of the kernel
// needed. Best effort: where it fails, the canary decides all the same.
//
// 7.x keeps them in a hash table, for which a kworker makes a larger one now and then.
// The addresses of the old tables stay on its stack, and the canary was given the
// memory of one (found in guest memory, 7.3 on arm64). So the kworker is waited for,
// and the rest of the large objects takes what it has freed.
func (h *slabHolders) occupySlabs() {
	h.take(largeHoldings)
	h.take(smallHoldings)
	sleep(time.Second)
	h.take(largeHoldings)
}

func (h *slabHolders) take(list []holding) {
	for _, o := range list {
		for n := range o.count {
			h.hold(o.class, n%2 == 0)
		}
	}
}

// fillSlabs takes what the kernel counts as free in its slabs, up to most of each
// class: of a clone's allocations, those of occupySlabs were three in four.
func (h *slabHolders) fillSlabs(most int) {
	table, err := readFile("/proc/slabinfo")
	if checked, _ := readInt(slabChecks); err != nil || checked != 1 {
		h.occupySlabs()
		return
	}
	free := freeObjects(table, most)
	for _, o := range slices.Concat(largeHoldings, smallHoldings) {
		count := free[o.class]
		if o.class == 64 { // the last: all names that are still wanted
			count = max(count, free[shortName]+free[longName])
		}
		for range count {
			long := free[longName] > 0
			h.hold(o.class, long)
			if long {
				free[longName]--
			} else {
				free[shortName] = max(0, free[shortName]-1)
			}
		}
	}
}

// slabChecks is 1 where all caches are debugged, as slub_debug has them. Only then are
// all free objects counted: others keep some for each CPU.
const slabChecks = objectCache + "/sanity_checks"

// freeObjects counts the free objects of each class of kmalloc, up to most.
//
// Example: kmalloc-64   466   512   64   64   1 : tunables …
func freeObjects(slabinfo []byte, most int) map[int]int {
	free := map[int]int{}
	for line := range bytes.Lines(slabinfo) {
		f := bytes.Fields(line)
		// Not kmalloc-rcl-64 and the like.
		if len(f) < 4 || !bytes.HasPrefix(f[0], []byte("kmalloc-")) || bytes.Count(f[0], []byte("-")) > 1 {
			continue
		}
		class, _ := strconv.Atoi(string(f[3]))
		active, _ := strconv.Atoi(string(f[1]))
		total, _ := strconv.Atoi(string(f[2]))
		free[class] = min(max(0, total-active), most)
	}
	return free
}

// slabHolders are attributes; what is set once stays.
type slabHolders struct {
	folders []string
	n       int
	full    bool
}

// perFolder is how many attributes a folder gets in a row: 6.1 looks through all of a
// folder's for a name, and each folder's inode is scanned from then on.
const perFolder = 48

// hold takes an object of the class, and its name one of another.
func (h *slabHolders) hold(class int, long bool) {
	if h.full {
		return
	}
	if h.folders == nil { // the slab caches' own, a hundred and more, and one that is always there
		h.folders, _ = filepath.Glob("/sys/kernel/slab/*")
		h.folders = append(h.folders, "/sys/kernel")
	}
	name := "trusted." + strconv.Itoa(h.n)
	folder := h.folders[h.n/perFolder%len(h.folders)]
	h.n++
	if long {
		name += strings.Repeat("-", longName-8-len(name))
	}
	h.full = unix.Setxattr(folder, name, blank[:class-xattrHead], 0) != nil
}

var blank [8 << 10]byte
