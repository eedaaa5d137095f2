// Package leaktest gates drivers from `go test`: a driver's repository gets a
// leak test with ten lines of Go, and kmemgate's own suite is nothing else.
//
//	func TestLeaks(t *testing.T) {
//		leaktest.Run(t, leaktest.Options{}, "../drivers/foo")
//	}
package leaktest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kmemgate/kmemgate/harness"
	"github.com/kmemgate/kmemgate/kernels"
	"github.com/kmemgate/kmemgate/reports"
	"github.com/kmemgate/kmemgate/scenarios"
)

// buildTime is what a kernel build may take on two cores, with the download.
const buildTime = 15 * time.Minute

// Options of a test. The zero value takes kernels and architectures from each
// driver's kmemgate.yml.
type Options struct {
	// Kernels, where set, replaces the kernels of kmemgate.yml.
	Kernels []string
	// Arches, where set, replaces the architectures of kmemgate.yml.
	Arches []string
	// Pairs, where set, replaces both: "6.12/arm64".
	Pairs []string
}

// Run gates the drivers in dirs, each as a subtest KERNEL/ARCH/NAME. A driver
// whose kmemgate.yml has an expectation for the kernel is judged by that;
// any other must be clean.
//
// On a desk without QEMU the test is skipped, and says so; where CI=true it
// fails, for a gate that did not run is not a gate that passed.
func Run(t *testing.T, opt Options, dirs ...string) {
	t.Helper()
	list := load(t, dirs)
	gate := newGate(t)
	for _, p := range opt.pairs(list) {
		t.Run(p.kernel+"/"+p.arch, func(t *testing.T) {
			needQEMU(t, p.arch)
			needKernel(t, gate, p)
			for _, s := range list {
				if opt.wants(s, p) {
					t.Run(s.Name, func(t *testing.T) {
						t.Parallel()
						judge(t, gate, s, p)
					})
				}
			}
		})
	}
}

// pair is a kernel as --kernel names it, and an architecture.
type pair struct{ kernel, arch string }

func (opt Options) pairs(list []*scenarios.Scenario) []pair {
	var pairs []pair
	seen := map[pair]bool{}
	add := func(p pair) {
		if !seen[p] {
			seen[p] = true
			pairs = append(pairs, p)
		}
	}
	for _, text := range opt.Pairs {
		i := strings.LastIndexByte(text, '/')
		add(pair{text[:max(i, 0)], text[i+1:]})
	}
	if len(pairs) > 0 {
		return pairs
	}
	for _, s := range list {
		for _, k := range orElse(opt.Kernels, s.Kernels) {
			for _, a := range orElse(opt.Arches, s.Arches) {
				add(pair{k, a})
			}
		}
	}
	return pairs
}

func orElse(a, b []string) []string {
	if len(a) > 0 {
		return a
	}
	return b
}

// wants tells whether the scenario is for the pair: always where the test
// named the pairs, else where its file does.
func (opt Options) wants(s *scenarios.Scenario, p pair) bool {
	if len(opt.Pairs) > 0 {
		return true
	}
	return contains(orElse(opt.Kernels, s.Kernels), p.kernel) && contains(orElse(opt.Arches, s.Arches), p.arch)
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

func load(t *testing.T, dirs []string) []*scenarios.Scenario {
	t.Helper()
	var list []*scenarios.Scenario
	for _, dir := range dirs {
		s, err := scenarios.Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, s)
	}
	if len(list) == 0 {
		t.Fatal("leaktest.Run: no directory given")
	}
	return list
}

func newGate(t *testing.T) *harness.Gate {
	t.Helper()
	gate := &harness.Gate{
		Builder: &kernels.Builder{Log: t.Output()},
		Host:    &harness.Host{Log: t.Logf},
		Out:     t.ArtifactDir(),
	}
	t.Cleanup(gate.Close)
	return gate
}

// missing skips on a desk and fails in CI.
func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

func needQEMU(t *testing.T, arch string) {
	t.Helper()
	program := map[string]string{"x86_64": "qemu-system-x86_64", "arm64": "qemu-system-aarch64"}[arch]
	if program == "" {
		t.Fatalf("architecture %q: want x86_64 or arm64", arch)
	}
	if _, err := exec.LookPath(program); err != nil {
		missing(t, "%s not found: kmemgate doctor tells how to install it", program)
	}
}

// needKernel skips at once where the kernel is still to be built and go test's
// deadline would not see the end of it.
func needKernel(t *testing.T, gate *harness.Gate, p pair) {
	t.Helper()
	if _, err := gate.Builder.Path(t.Context(), kernels.Spec{Source: p.kernel, Arch: p.arch}); err == nil {
		return
	}
	if deadline, ok := t.Deadline(); ok && time.Until(deadline) < buildTime {
		missing(t, "kernel %s for %s is not built, and go test's -timeout is too short to build it: type\n\tkmemgate kernel build %s/%s",
			p.kernel, p.arch, p.kernel, p.arch)
	}
}

func judge(t *testing.T, gate *harness.Gate, s *scenarios.Scenario, p pair) {
	t.Helper()
	run, err := gate.One(t.Context(), s, p.kernel, p.arch)
	if err != nil {
		t.Fatal(err)
	}
	want, ok := s.ExpectFor(run.Kernel, run.Arch)
	if !ok {
		if len(s.Expect) > 0 {
			t.Skipf("%s says nothing of kernel %s on %s", scenarios.FileName, run.Kernel, run.Arch)
		}
		want = scenarios.Expectation{Verdict: string(reports.Clean)}
	}
	dir := filepath.Join(gate.Out, run.Dir)
	for _, diff := range want.Check(observed(run, dir)) {
		t.Errorf("%s", diff)
	}
	if t.Failed() {
		t.Logf("evidence: %s (kept with go test -artifacts)\n%s\nrun just this one:\n\tgo test -artifacts %s -run '%s'",
			dir, records(run), s.Dir, t.Name())
	}
}

// observed is the run in the words of an expectation.
func observed(run reports.Run, dir string) scenarios.Observed {
	o := scenarios.Observed{
		Verdict: string(run.Verdict),
		Reason:  run.Reason,
		Detail:  run.Detail,
		Dmesg:   readFile(filepath.Join(dir, "dmesg.txt")),
		Output:  readFile(filepath.Join(dir, "exercise.log")),
	}
	for _, l := range run.Leaks {
		o.Leaks = append(o.Leaks, scenarios.ObservedLeak{
			Function: l.Function, Kind: l.Kind, Status: string(l.Status), Count: l.Count,
			Size: l.Size, File: l.File, Line: l.Line, Children: l.Children,
		})
	}
	return o
}

// readFile gives "" for a file that is not there: a run that ended early.
func readFile(path string) string {
	text, _ := os.ReadFile(path)
	return string(text)
}

func records(run reports.Run) string {
	var b strings.Builder
	for _, l := range run.Leaks {
		fmt.Fprintf(&b, "%s: %s, %d objects, %d bytes\n", l.Status, l.Title, l.Count, l.Bytes)
		if len(l.Records) > 0 {
			b.WriteString(l.Records[0] + "\n")
		}
	}
	return b.String()
}
