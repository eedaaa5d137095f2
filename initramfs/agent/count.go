package main

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/kmemgate/kmemgate/initramfs/wire"
)

const (
	// objectCache is the slab cache of kmemleak's own records: one object for
	// each allocation that it tracks, of slab, vmalloc and percpu alike.
	objectCache = "/sys/kernel/slab/kmemleak_object"
	// budget is the most that failslab's space takes, an int.
	budget = 1<<31 - 1
)

// counter counts the allocations that kmemleak tracks with a module's code on
// their stack, in whichever task: the loader, a script, a worker.
//
// It is failslab that counts, without ever failing one: told to heed the cache
// of kmemleak's records alone, and of that only what a module allocates, it
// takes each record's size off its budget `space`, before which is used up it
// injects nothing (Documentation/fault-injection/fault-injection.rst).
type counter struct {
	settings []setting
	size     int // of one record
	skipped  int // allocated by modules that are not under test
}

type setting struct{ name, value string }

// arm starts to count at zero. An error means that this kernel cannot: the
// stack filter is missing (6.1 on x86_64), or is asked last (before 6.2).
func (c *counter) arm() error {
	size, err := readInt(filepath.Join(objectCache, "object_size"))
	if err != nil {
		return err
	}
	start, end, err := moduleArea()
	if err != nil {
		return err
	}
	if _, err := writeFile(filepath.Join(objectCache, "failslab"), "1"); err != nil {
		return err
	}
	c.size, c.settings = size, []setting{
		{"cache-filter", "Y"},
		{"ignore-gfp-wait", "N"},
		{"task-filter", "N"},
		{"stacktrace-depth", "32"},
		{"require-start", start},
		{"require-end", end},
		{"verbose", "0"},
		{"interval", strconv.Itoa(budget)}, // that nothing fails even beyond the budget
		{"space", strconv.Itoa(budget)},
		{"times", "1"},
		{"probability", "1"}, // last: any but zero switches it on
	}
	for _, s := range c.settings {
		if _, err := writeFile(filepath.Join(faultAttrs[0], s.name), s.value); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return c.proveIdle()
}

// proveIdle makes allocations that are no module's: none may be counted.
func (c *counter) proveIdle() error {
	for range 8 {
		if _, err := readFile("/proc/version"); err != nil {
			return err
		}
	}
	n, err := c.count()
	if err == nil && n != 0 {
		err = fmt.Errorf("%d allocations counted with no module loaded: the kernel asks the stack filter last", n)
	}
	return err
}

// count is what was allocated since arm.
func (c *counter) count() (int, error) {
	left, err := readInt(filepath.Join(faultAttrs[0], "space"))
	if err != nil {
		return 0, err
	}
	return (budget - left) / c.size, nil
}

// disarm stops the counting and tells its outcome. A script that had failslab
// do something else has spoiled it.
func (c *counter) disarm() (int, error) {
	n, err := c.count()
	for _, s := range c.settings {
		if s.name == "space" || err != nil {
			continue
		}
		var b []byte
		if b, err = readFile(filepath.Join(faultAttrs[0], s.name)); err == nil && !s.is(string(bytes.TrimSpace(b))) {
			err = fmt.Errorf("failslab's %s is now %s", s.name, bytes.TrimSpace(b))
		}
	}
	stopCounting()
	return n - c.skipped, err
}

func stopCounting() { _, _ = writeFile(filepath.Join(faultAttrs[0], "probability"), "0") }

// is compares by value: addresses are written in hex and read in another form.
func (s setting) is(value string) bool {
	a, errA := strconv.ParseUint(s.value, 0, 64)
	b, errB := strconv.ParseUint(value, 0, 64)
	return s.value == value || errA == nil && errB == nil && a == b
}

func readInt(path string) (int, error) {
	b, err := readFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(bytes.TrimSpace(b)))
}

// startCounting counts from here on, where the kernel can.
func (a *agent) startCounting() {
	c := &counter{}
	if err := c.arm(); err != nil {
		mark("allocations are not counted: %v", err)
		stopCounting()
		return
	}
	a.counter = c
}

// loadUncounted loads a module that is merely needed.
func (a *agent) loadUncounted(m wire.JobModule, cycle int) error {
	if a.counter == nil {
		return a.load(m, cycle)
	}
	before, _ := a.counter.count()
	err := a.load(m, cycle)
	after, _ := a.counter.count()
	a.counter.skipped += after - before
	return err
}

// sendCount tells what was counted.
func (a *agent) sendCount() error {
	if a.counter == nil {
		return nil
	}
	n, err := a.counter.disarm()
	if err != nil {
		mark("allocations were not counted: %v", err)
		return nil
	}
	return a.out.Send(wire.Tracked{Objects: max(n, 0)})
}
