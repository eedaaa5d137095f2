// Package leaktest gates drivers from `go test`: a driver's repository gets a
// leak test with ten lines of Go, and kmemgate's own suite is nothing else.
//
//	func TestLeaks(t *testing.T) {
//		leaktest.Run(t, leaktest.Options{}, "../drivers/foo")
//	}
package leaktest

import (
	"slices"
	"strings"
	"testing"

	"github.com/kmemgate/kmemgate/harness"
	"github.com/kmemgate/kmemgate/kernels"
	"github.com/kmemgate/kmemgate/scenarios"
)

// Options of a test. The zero value takes kernels and architectures from each
// driver's kmemgate.yml.
type Options struct {
	// Kernels, where set, replaces the kernels of kmemgate.yml.
	Kernels []string
	// Arches, where set, replaces the architectures of kmemgate.yml.
	Arches []string
	// Pairs, where set, replaces both: "6.12/arm64".
	Pairs []string
	// BuiltOnly leaves out what wants a kernel that is still to be built, and
	// says with which command, however much time there is.
	BuiltOnly bool
	// Env is what stands before go test in the command that a failure prints,
	// where the test heeds variables of its own: "PAIRS=6.12/arm64".
	Env []string
	// Overlap starts a pair while the last guests of the one before it still
	// run. Run then returns before they have: what they need must outlive
	// the test's own function.
	Overlap bool
}

// Run gates the drivers in dirs, each as a subtest KERNEL/ARCH/NAME. A driver
// whose kmemgate.yml has an expectation for the kernel is judged by that; any
// other as `kmemgate run` would judge it: by the baseline beside it, and by
// fail_on.
//
// On a desk without QEMU, or without the time to build a kernel, the test is
// skipped, and says so; where CI=true it fails, for a gate that did not run is
// not a gate that passed.
func Run(t *testing.T, opt Options, dirs ...string) {
	t.Helper()
	list := load(t, dirs)
	gate := newGate(t)
	for _, p := range opt.pairs(list) {
		t.Run(p.kernel+"/"+p.arch, func(t *testing.T) {
			needQEMU(t, p.arch)
			wanted := slices.DeleteFunc(slices.Clone(list), func(s *scenarios.Scenario) bool { return !opt.wants(s, p) })
			if slices.ContainsFunc(wanted, plainKernel) {
				opt.needKernel(t, gate, &scenarios.Scenario{}, p) // said once for all of them
			}
			if opt.Overlap {
				t.Parallel() // the next pair has its kernel prepared, then all run
			}
			for _, s := range wanted {
				t.Run(s.Name, func(t *testing.T) {
					t.Parallel()
					if !plainKernel(s) {
						opt.needKernel(t, gate, s, p)
					}
					opt.judge(t, gate, s, p)
				})
			}
		})
	}
}

// plainKernel tells whether the scenario runs on the base kernel, as most do.
func plainKernel(s *scenarios.Scenario) bool { return len(s.Kconfig) == 0 }

// pair is a kernel as --kernel names it, and an architecture.
type pair struct{ kernel, arch string }

func (opt Options) pairs(list []*scenarios.Scenario) []pair {
	var pairs []pair
	add := func(p pair) {
		if !slices.Contains(pairs, p) {
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
	return slices.Contains(orElse(opt.Kernels, s.Kernels), p.kernel) && slices.Contains(orElse(opt.Arches, s.Arches), p.arch)
}

// load reads every kmemgate.yml. The evidence of a driver lies under its name,
// so that two of one name would write over each other's.
func load(t *testing.T, dirs []string) []*scenarios.Scenario {
	t.Helper()
	var list []*scenarios.Scenario
	for _, dir := range dirs {
		s, err := scenarios.Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		if i := slices.IndexFunc(list, func(o *scenarios.Scenario) bool { return o.Name == s.Name }); i >= 0 {
			t.Fatalf("leaktest.Run: %s and %s have one name: gate them in two tests", list[i].Dir, s.Dir)
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
