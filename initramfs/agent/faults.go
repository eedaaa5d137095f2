package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The kernel's injection points: slab and page allocations.
const (
	failslab      = debugfs + "/failslab"
	failPageAlloc = debugfs + "/fail_page_alloc"
)

var faultAttrs = []string{failslab, failPageAlloc}

// codeRange is a part of the kernel's code, from start to before end.
type codeRange struct{ start, end uint64 }

// setUpFaults makes ordinary allocations count. Left alone, GFP_KERNEL
// allocations and single pages never fail (mm/failslab.c, mm/fail_page_alloc.c).
func setUpFaults() error {
	settings := []struct {
		name, value string
		optional    bool // not under both attributes, or not in all kernels
	}{
		{"probability", "0", false}, // fail-nth alone decides
		{"verbose", "2", false},     // the stack of each failure in the log
		{"ignore-gfp-wait", "N", true},
		{"ignore-gfp-highmem", "N", true},
		{"min-order", "0", true},
	}
	for _, dir := range faultAttrs {
		for _, s := range settings {
			if _, err := writeFile(filepath.Join(dir, s.name), s.value); err != nil && !s.optional {
				return fmt.Errorf("fault injection: %s: %w (needs FAULT_INJECTION, FAILSLAB, FAIL_PAGE_ALLOC, FAULT_INJECTION_DEBUG_FS)",
					filepath.Join(dir, s.name), err)
			}
		}
	}
	return nil
}

// filterStacks counts only what has a module's code on its stack and not what is
// rejected under its attribute, and tells whether the kernel does so: 6.1 has no stack filter on
// x86_64, and before 6.2 fail-nth did not ask it (lib/fault-inject.c). There the
// host tells allocations apart by the stacks in the log.
func filterStacks(reject map[string]codeRange) (bool, error) {
	start, end, err := moduleArea()
	if err != nil {
		return false, err
	}
	for _, dir := range faultAttrs {
		filter := []struct{ name, value string }{
			{"stacktrace-depth", "32"}, // the most there is (MAX_STACK_TRACE_DEPTH)
			{"require-start", start},
			{"require-end", end},
			{"reject-start", fmt.Sprintf("%#x", reject[dir].start)},
			{"reject-end", fmt.Sprintf("%#x", reject[dir].end)},
		}
		if _, err := os.Stat(dir + "/require-start"); errors.Is(err, os.ErrNotExist) {
			return false, nil
		}
		for _, s := range filter {
			if _, err := writeFile(filepath.Join(dir, s.name), s.value); err != nil {
				return false, fmt.Errorf("fault injection: %s/%s: %w", dir, s.name, err)
			}
		}
	}
	if heedsFilter() {
		return true, nil
	}
	return false, unfilter() // asked last, it would swallow the one fault there is
}

// heedsFilter tries an allocation that is no module's: it must not count.
func heedsFilter() bool {
	heeds := false
	onFreshThread(func() {
		left, err := failNth(1, func() error {
			fd, err := unix.Open("/proc/version", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err == nil {
				unix.Close(fd)
			}
			return err
		})
		heeds = err == nil && left == 1
	})
	return heeds
}

func unfilter() error {
	for _, dir := range faultAttrs {
		for _, s := range []struct{ name, value string }{{"require-start", "0"}, {"require-end", "0xffffffffffffffff"}, {"reject-start", "0"}, {"reject-end", "0"}} {
			if _, err := writeFile(filepath.Join(dir, s.name), s.value); err != nil {
				return fmt.Errorf("fault injection: %s/%s: %w", dir, s.name, err)
			}
		}
	}
	return nil
}

// moduleArea is where modules lie without KASLR: on x86_64 above the 512 MiB of
// the kernel's image (Documentation/arch/x86/x86_64/mm.rst), on arm64 in the
// 2 GiB below the image (arch/arm64/include/asm/memory.h; 128 MiB before 6.5).
func moduleArea() (start, end string, err error) {
	if runtime.GOARCH == "amd64" {
		return "0xffffffffa0000000", "0xffffffffff000000", nil
	}
	at, err := imageStart()
	return fmt.Sprintf("%#x", at-2<<30), fmt.Sprintf("%#x", at), err
}

// imageStart is the address of _text, among the first lines of kallsyms:
// "ffff800080000000 T _text". Reading it all takes a second of guest time.
func imageStart() (uint64, error) {
	f, err := os.Open("/proc/kallsyms")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	lines := bufio.NewScanner(io.LimitReader(f, 4<<10))
	for lines.Scan() {
		if f := strings.Fields(lines.Text()); len(f) == 3 && f[2] == "_text" {
			return strconv.ParseUint(f[0], 16, 64)
		}
	}
	return 0, errors.New("kallsyms does not begin with _text")
}
