package main

import (
	"bytes"
	"errors"
	"fmt"
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

// moduleArea is where modules lie: on x86_64 between the kernel's image and the
// fixed mappings (Documentation/arch/x86/x86_64/mm.rst), on arm64 in the 2 GiB
// below the image (arch/arm64/include/asm/memory.h; 128 MiB before 6.5).
func moduleArea() (start, end string, err error) {
	if runtime.GOARCH == "amd64" {
		at, err := kernelSymbol("_end")
		return fmt.Sprintf("%#x", at), "0xffffffffff000000", err
	}
	at, err := kernelSymbol("_text")
	return fmt.Sprintf("%#x", at-2<<30), fmt.Sprintf("%#x", at), err
}

// kernelSymbol looks up one of the image's own borders.
func kernelSymbol(name string) (uint64, error) {
	var b []byte
	var err error
	onFreshThread(func() { b, err = os.ReadFile("/proc/kallsyms") })
	if err != nil {
		return 0, fmt.Errorf("kallsyms: %w", err)
	}
	for line := range bytes.Lines(b) {
		// ffffffff82a00000 B _end
		f := strings.Fields(string(line))
		if len(f) == 3 && f[2] == name {
			return strconv.ParseUint(f[0], 16, 64)
		}
	}
	return 0, fmt.Errorf("kallsyms: no symbol %s (needs KALLSYMS_ALL)", name)
}
