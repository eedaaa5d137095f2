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
)

// faultAttrs are the kernel's injection points: slab and page allocations.
var faultAttrs = []string{debugfs + "/failslab", debugfs + "/fail_page_alloc"}

// setUpFaults makes ordinary allocations count. Left alone, GFP_KERNEL
// allocations and single pages never fail (mm/failslab.c, mm/fail_page_alloc.c).
// With own, only allocations with a module's code on their stack count, where
// the kernel has the stack filter; where not, the host tells them apart by the
// stacks in the log.
func setUpFaults(own bool) error {
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
	if !own {
		return nil
	}
	return filterStacks()
}

// filterStacks counts only what has a module's code on its stack
// (FAULT_INJECTION_STACKTRACE_FILTER).
func filterStacks() error {
	start, end, err := moduleArea()
	if err != nil {
		return err
	}
	for _, dir := range faultAttrs {
		if _, err := os.Stat(dir + "/require-start"); errors.Is(err, os.ErrNotExist) {
			continue
		}
		for _, s := range []struct{ name, value string }{
			{"stacktrace-depth", "32"}, // the most there is (MAX_STACK_TRACE_DEPTH)
			{"require-start", start},
			{"require-end", end},
		} {
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
