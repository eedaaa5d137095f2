package reports

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// canaryBegin is what kmemleak-test prints first.
const canaryBegin = "kmemleak: Kmemleak testing"

// canaryPart is one kind of object that kmemleak-test leaks, with the text it
// prints before the address.
type canaryPart struct {
	text   string
	count  int
	perCPU bool   // count times the possible CPUs
	since  series // the first kernel that has it
	why    string
}

type series struct{ major, minor int }

// canaryParts is samples/kmemleak/kmemleak-test.c (mm/kmemleak-test.c before
// 5.10): with one CPU 24 objects on 6.1 and 25 from 6.12.
var canaryParts = []canaryPart{
	{"kmalloc(32)", 2, false, series{}, "never stored"},
	{"kmalloc(1024)", 2, false, series{}, "never stored"},
	{"kmalloc(2048)", 2, false, series{}, "never stored"},
	{"kmalloc(4096)", 2, false, series{}, "never stored"},
	{"vmalloc(64)", 5, false, series{}, "never stored"},
	{"kzalloc(sizeof(*elem))", 10, false, series{}, "on a static list, orphaned by list_del in the module's exit"},
	{"kmalloc(129)", 1, true, series{}, "in a per-CPU variable of the module, orphaned when the module's per-CPU area goes"},
	{"__alloc_percpu(64, 4)", 1, false, series{6, 12}, "percpu objects are tracked and reported from 6.12 on"},
}

// canaryObject is one address that the canary printed.
type canaryObject struct {
	text string
	addr uint64
}

// CanaryAddresses returns the addresses that the first kmemleak-test of a
// kernel log printed. Later ones are modules under test, not the canary. The
// kernel must run with no_hash_pointers.
//
// Example: [    1.234567] kmemleak: kmalloc(32) = ffff888003a5c0e0
func CanaryAddresses(dmesg []byte) []uint64 {
	var out []uint64
	for _, o := range canaryObjects(dmesg) {
		out = append(out, o.addr)
	}
	return out
}

func canaryObjects(dmesg []byte) []canaryObject {
	var out []canaryObject
	begun := false
	for raw := range bytes.Lines(dmesg) {
		text := logText(string(raw))
		if text == canaryBegin {
			if begun {
				break
			}
			begun = true
			continue
		}
		rest, ok := strings.CutPrefix(text, "kmemleak: ")
		what, value, ok2 := strings.Cut(rest, " = ")
		// What it prints are calls; "min_count = 1" is kmemleak's answer to a dump=.
		if !begun || !ok || !ok2 || !strings.HasSuffix(what, ")") {
			continue
		}
		addr, err := strconv.ParseUint(strings.TrimPrefix(value, "0x"), 16, 64)
		if err == nil && addr != 0 {
			out = append(out, canaryObject{what, addr})
		}
	}
	return out
}

// expectedCanary returns the addresses that must be orphans, or why it cannot
// be told which. What the log says must agree with what the guest said before
// the module under test was there, and both with the table.
func expectedCanary(c *Capture) (map[uint64]bool, error) {
	objects := canaryObjects(c.Dmesg)
	if len(objects) == 0 {
		return nil, fmt.Errorf("the kernel log holds no address that kmemleak-test printed")
	}
	if err := checkCanaryParts(c, objects); err != nil {
		return nil, err
	}
	want := map[uint64]bool{}
	for _, a := range c.Canary.Addresses {
		want[a] = true
	}
	logged := map[uint64]bool{}
	for _, o := range objects {
		if logged[o.addr] = true; !want[o.addr] {
			return nil, fmt.Errorf("the kernel log has an object 0x%x of kmemleak-test's that it did not print while it ran", o.addr)
		}
	}
	for a := range want {
		if !logged[a] {
			return nil, fmt.Errorf("kmemleak-test printed an object 0x%x while it ran, but the kernel log does not have it", a)
		}
	}
	if n := canaryTotal(c); len(want) < n {
		return nil, fmt.Errorf("kmemleak-test of %s leaks %d objects, but only %d addresses are known", c.Kernel, n, len(want))
	}
	return want, nil
}

// checkCanaryParts holds the log against the table. Kinds that the table does
// not know, of newer kernels, are welcome.
func checkCanaryParts(c *Capture, objects []canaryObject) error {
	got := map[string]int{}
	for _, o := range objects {
		got[o.text]++
	}
	for _, p := range canaryParts {
		if n := p.expected(c); got[p.text] < n {
			return fmt.Errorf("kmemleak-test of %s prints %d lines %q, but the kernel log has %d (cut, or its pointers are hashed?)",
				c.Kernel, n, p.text, got[p.text])
		}
	}
	return nil
}

func canaryTotal(c *Capture) int {
	n := 0
	for _, p := range canaryParts {
		n += p.expected(c)
	}
	return n
}

func (p canaryPart) expected(c *Capture) int {
	if s := kernelSeries(c.Kernel); s.less(p.since) {
		return 0
	}
	if p.perCPU {
		return p.count * max(c.CPUs, 1)
	}
	return p.count
}

func (s series) less(t series) bool {
	return s.major < t.major || s.major == t.major && s.minor < t.minor
}

// kernelSeries reads the first two numbers of a release string.
//
// Example: 6.12.117-dirty
func kernelSeries(release string) series {
	parts := strings.FieldsFunc(release, func(r rune) bool { return r < '0' || r > '9' })
	if len(parts) < 2 {
		return series{}
	}
	major, err := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	if err != nil || err2 != nil {
		return series{}
	}
	return series{major, minor}
}

// isCanary tells the canary's objects: allocated by its child in its window.
// The module under test may be kmemleak-test itself, so that neither names nor
// signatures tell anything.
func (c *Canary) isCanary(r *Record) bool {
	return r.PID == c.PID && r.Jiffies >= c.Begin && r.Jiffies <= c.End
}

// countCanary looks the expected objects up in a read; missing ones are sorted.
func countCanary(want map[uint64]bool, c *Capture, records []Record) (found int, missing []uint64) {
	seen := map[uint64]bool{}
	for i := range records {
		if r := &records[i]; want[r.Address] && c.Canary.isCanary(r) {
			seen[r.Address] = true
		}
	}
	for a := range want {
		if !seen[a] {
			missing = append(missing, a)
		}
	}
	slices.Sort(missing)
	return len(seen), missing
}
