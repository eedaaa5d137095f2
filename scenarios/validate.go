package scenarios

import (
	"fmt"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The values that a key may have, where they are few. The empty text stands
// for "not said".
var (
	arches   = []string{"x86_64", "arm64"}
	clocks   = []string{"", "warp", "real"}
	stacks   = []string{"", "on", "off"}
	failOns  = []string{"", "new", "any", "never"}
	verdicts = []string{"clean", "leaks", "none", "skipped"}
	kinds    = []string{"", "object", "percpu", "phys"}
	statuses = []string{"", "new", "known", "suppressed", "transient", "noise"}
)

var (
	// kconfigLine is what a fragment's line looks like. Example: CONFIG_NR_CPUS=4
	kconfigLine = regexp.MustCompile(`^(CONFIG_[A-Za-z0-9_]+=(y|m|n|-?[0-9]+|0[xX][0-9a-fA-F]+|"[^"\n]*")|# CONFIG_[A-Za-z0-9_]+ is not set)$`)
	moduleName  = regexp.MustCompile(`^[A-Za-z0-9_-]{1,55}$`) // MODULE_NAME_LEN, include/linux/moduleparam.h
	memorySize  = regexp.MustCompile(`^[1-9][0-9]{0,5}[MG]$`)
)

const (
	maxCycles  = 1000
	maxTimeout = 24 * time.Hour
	minMemory  = 64 // MB: less does not boot the smallest kernel
	maxMemory  = 64 << 10
)

// validate checks what the types alone cannot say.
func (d *document) validate() {
	s := d.scenario
	d.kernelNames("$.kernels", s.Kernels, plainSelector)
	d.architectures("$.arches", s.Arches)
	d.kconfig()
	d.modules()
	d.paths()
	d.numbers()
	d.oneOf("$.clock", s.Clock, clocks)
	d.oneOf("$.stack", s.Stack, stacks)
	d.oneOf("$.fail_on", s.FailOn, failOns)
	d.noNewline("$.cmdline", s.Cmdline)
	for i, dev := range s.Devices {
		if !deviceName.MatchString(dev) {
			d.errorf(item("$.devices", i), "%q is no QEMU device; want a name such as edu or usb-kbd,port=1", dev)
		} else if leak := reachesHost(dev); leak != "" {
			d.errorf(item("$.devices", i), "%q: %s reaches out of the guest; want a device that QEMU plays by itself", dev, leak)
		}
	}
	for i := range s.Suppress {
		d.suppression(item("$.suppress", i), &s.Suppress[i])
	}
	for i, e := range s.Expect {
		at := "$.expect"
		if !d.has(at + ".verdict") {
			at = item(at, i)
		}
		d.expectation(at, e)
	}
}

func item(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

func plainSelector(name string) bool {
	return name != "" && !strings.ContainsAny(name, " \t\r\n\x00")
}

func (d *document) kernelNames(path string, names []string, valid func(string) bool) {
	for i, name := range names {
		if !valid(name) {
			d.errorf(item(path, i), "%q names no kernel; want a series or version such as \"6.12\"", name)
		}
	}
}

func (d *document) architectures(path string, names []string) {
	for i, name := range names {
		d.oneOf(item(path, i), name, arches)
	}
}

func (d *document) oneOf(path, value string, allowed []string) {
	if slices.Contains(allowed, value) {
		return
	}
	words := slices.DeleteFunc(slices.Clone(allowed), func(s string) bool { return s == "" })
	d.errorf(path, "%q is not known; want %s", value, strings.Join(words, " or "))
}

func (d *document) noNewline(path, value string) {
	if strings.ContainsAny(value, "\r\n\x00") {
		d.errorf(path, "%q spans lines; want one line", value)
	}
}

func (d *document) kconfig() {
	s := d.scenario
	for i, line := range s.Kconfig {
		at := item("$.kconfig", i)
		if !kconfigLine.MatchString(line) {
			d.errorf(at, "%q is no Kconfig setting; want CONFIG_NAME=y, m, n, a number or a \"text\"", line)
		}
		number := 1
		if node, ok := d.nodes[at]; ok {
			number = lineOf(node)
		}
		s.KconfigLines = append(s.KconfigLines, number)
	}
}

func (d *document) modules() {
	for i, m := range d.scenario.Modules {
		at := item("$.modules", i)
		if !moduleName.MatchString(m.Name) {
			d.errorf(at, "%q is no module name; want the .ko file's name without the suffix", m.Name)
		}
		d.noNewline(at+".params", m.Params)
	}
}

// paths refuses files outside of the driver's directory tree's reach: what a
// guest is given is copied from where the file says, so it must not wander.
func (d *document) paths() {
	s := d.scenario
	d.buildDirs()
	for i, f := range s.Files {
		if f == "" || !filepath.IsLocal(f) {
			d.errorf(item("$.files", i), "%q leaves this directory; copy the file into it", f)
		}
	}
	if s.Baseline != "" && filepath.IsAbs(s.Baseline) {
		d.errorf("$.baseline", "%q is absolute; want a path relative to this file", s.Baseline)
	}
}

// buildDirs lets one directory lie anywhere, but has several below this one:
// they are built in one copy of it.
func (d *document) buildDirs() {
	dirs := d.scenario.Build
	seen := map[string]bool{}
	for i, dir := range dirs {
		at := d.buildAt(i)
		switch clean := filepath.Clean(dir); {
		case dir == "":
			d.errorf(at, "names no directory; want one with Kbuild, Makefile or dkms.conf")
		case filepath.IsAbs(dir):
			d.errorf(at, "%q is absolute; want a path relative to this file", dir)
		case len(dirs) > 1 && !filepath.IsLocal(dir):
			d.errorf(at, "%q leaves this directory; put this file above all that it builds", dir)
		case seen[clean]:
			d.errorf(at, "%q is named twice; keep the one that is built first", dir)
		default:
			seen[clean] = true
		}
	}
}

// buildAt is where a directory to build stands in the file.
func (d *document) buildAt(i int) string {
	if at := item("$.build", i); d.has(at) {
		return at
	}
	return "$.build" // one alone
}

func (d *document) numbers() {
	s := d.scenario
	if d.has("$.cycles") && (s.Cycles < 1 || s.Cycles > maxCycles) {
		d.errorf("$.cycles", "%d is out of range; want 1 to %d", s.Cycles, maxCycles)
	}
	if d.has("$.timeout") && (s.Timeout < time.Second || s.Timeout > maxTimeout) {
		d.errorf("$.timeout", "%v is out of range; want 1s to %v, with the unit", s.Timeout, maxTimeout)
	}
	if s.Memory != "" && !memoryInRange(s.Memory) {
		d.errorf("$.memory", "%q is no size; want 64M to 64G, such as 256M", s.Memory)
	}
}

func memoryInRange(text string) bool {
	if !memorySize.MatchString(text) {
		return false
	}
	n, _ := strconv.Atoi(text[:len(text)-1]) // the expression lets six digits through
	if strings.HasSuffix(text, "G") {
		n <<= 10
	}
	return n >= minMemory && n <= maxMemory
}

func (d *document) suppression(at string, s *Suppression) {
	if node, ok := d.nodes[at]; ok {
		s.Line = lineOf(node)
	}
	switch {
	case s.Match == "" && s.Signature == "":
		d.errorf(at, "says neither match nor signature; name the leak by one of them")
	case s.Match != "" && s.Signature != "":
		d.errorf(at, "says both match and signature; keep one")
	}
	if _, err := path.Match(s.Match, ""); err != nil {
		d.errorf(at+".match", "%q is a broken glob; close its bracket, or escape it with a backslash", s.Match)
	}
	if strings.TrimSpace(s.Reason) == "" {
		d.errorf(at, "has no reason; say why this leak is let pass")
	}
	if s.Expires != "" {
		if _, err := time.Parse(time.DateOnly, s.Expires); err != nil {
			d.errorf(at+".expires", "%q is no date; want YYYY-MM-DD", s.Expires)
		}
	}
	d.kernelNames(at+".kernels", s.Kernels, validKernelPattern)
}

func (d *document) expectation(at string, e Expectation) {
	d.kernelNames(at+".kernels", e.Kernels, validKernelPattern)
	d.architectures(at+".arches", e.Arches)
	d.oneOf(at+".verdict", e.Verdict, verdicts)
	if e.Verdict == "leaks" && len(e.Leaks) == 0 {
		d.errorf(at, "verdict leaks, but no leaks are listed; name each, such as {function: foo_init}")
	}
	if e.Verdict == "none" && e.Reason == "" {
		d.errorf(at, "verdict none without reason; say which, such as detector-off")
	}
	if (len(e.Kernels) > 0 || len(e.Arches) > 0) && e.Why == "" {
		d.errorf(at, "is narrowed to some kernels or arches without why; say what differs there")
	}
	for i, leak := range e.Leaks {
		d.oneOf(item(at+".leaks", i)+".kind", leak.Kind, kinds)
		d.oneOf(item(at+".leaks", i)+".status", leak.Status, statuses)
		if leak.Size != 0 && leak.Kmalloc != 0 {
			d.errorf(item(at+".leaks", i), "says both size and kmalloc; keep one")
		}
		if leak.Count < 0 || leak.Size < 0 || leak.Kmalloc < 0 || leak.PerCycle != nil && *leak.PerCycle < 0 || leak.Line < 0 || leak.Children < 0 {
			d.errorf(item(at+".leaks", i), "a number below zero; leave it out where it does not matter")
		}
	}
	d.patterns(at+".detail", e.Detail)
	d.patterns(at+".dmesg", e.Dmesg)
	d.patterns(at+".no_dmesg", e.NoDmesg)
	d.patterns(at+".output", e.Output)
}

func (d *document) patterns(path string, list []string) {
	for i, text := range list {
		if _, err := regexp.Compile(text); err != nil {
			d.errorf(item(path, i), "%v; escape the character, or quote the text with \\Q…\\E", err)
		}
	}
}
