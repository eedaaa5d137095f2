package harness

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/initramfs/wire"
	"github.com/kmemgate/kmemgate/kernels"
	"github.com/kmemgate/kmemgate/reports"
	"github.com/kmemgate/kmemgate/scenarios"
)

// fakeSweep is a sweep of modules that no kernel would load, whose guests are
// played by start; their files are in dir, the results in file.
func fakeSweep(t *testing.T, dir, file string, start func(turns int) *reports.Capture, names ...string) (*sweptKernel, []turn) {
	t.Helper()
	write := func(name string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(name), 0o644))
		return path
	}
	var turns []turn
	for _, name := range names {
		path := write(name + ".ko")
		turns = append(turns, turn{module: kernels.Module{Name: name, Path: path, Stripped: path}, source: dir})
	}
	state, err := openSweepState(file)
	require.NoError(t, err)
	s := &Sweep{Gate: &Gate{Out: t.TempDir(), Host: &Host{Jobs: 1}}, Scenario: &scenarios.Scenario{Clock: ClockWarp}}
	c := cell{source: "6.12", arch: "x86_64", scenario: s.Scenario,
		kernel: &kernels.Kernel{Release: "6.12", Key: "key", Config: write("config"), Source: dir}}
	k := &sweptKernel{Sweep: s, cell: c, state: state, control: &reports.Capture{}}
	k.start = func(_ context.Context, job []byte, _ RunOptions) (*reports.Capture, error) {
		return start(strings.Count(string(job), `"under_test":true`)), nil
	}
	k.conditions, err = s.conditions(c)
	require.NoError(t, err)
	return k, turns
}

// What a group shows is kept before the parts are judged: a sweep killed while
// the last of them runs must not call the group clean when it goes on.
func TestSweepKilledAmidASplitKeepsWhatTheGroupShowed(t *testing.T) {
	dir := t.TempDir()
	file, killed := filepath.Join(dir, "sweep.json"), filepath.Join(dir, "killed.json")
	alone := 0
	guest := func(turns int) *reports.Capture {
		if turns > 1 {
			return &reports.Capture{Reason: wire.ReasonUnsettled, Detail: "reads differ"}
		}
		if alone++; alone == 2 { // here it is killed: this is what it left behind
			require.NoError(t, os.WriteFile(killed, readFile(t, file), 0o644))
		}
		return &reports.Capture{Reason: reports.ReasonWarn}
	}
	k, turns := fakeSweep(t, dir, file, guest, "a", "b")
	require.NoError(t, k.settle(t.Context(), turns))
	whole := k.results(turns)
	require.Len(t, whole, 3, "a, b and the group, whose reason is another one than theirs")
	assert.Equal(t, wire.ReasonUnsettled, whole[2].Reason)

	again, turns := fakeSweep(t, dir, killed, guest, "a", "b")
	left := again.todo(turns)
	require.Len(t, left, 1, "a was judged before")
	require.NoError(t, again.settle(t.Context(), left))
	require.NoError(t, again.accountLeftovers(turns))
	got := again.results(turns)
	require.Len(t, got, 3, "the group's part is not lost")
	assert.Equal(t, wire.ReasonUnsettled, got[2].Reason)
	assert.Contains(t, strings.Join(got[2].Warnings, "\n"), "only with these modules in one guest, loaded one after the other: a b")
	assert.Empty(t, again.state.pending(again.keySet(turns)))
}

func TestGroupShowsWhatItsPartsDoNot(t *testing.T) {
	leaks := func(signatures ...string) reports.Run {
		run := reports.Run{Verdict: reports.Leaks}
		for _, s := range signatures {
			run.Leaks = append(run.Leaks, reports.Leak{Signature: s})
		}
		return run
	}
	none := func(reason string) reports.Run { return reports.Run{Verdict: reports.None, Reason: reason} }
	clean := reports.Run{Verdict: reports.Clean}
	for name, tt := range map[string]struct {
		whole reports.Run
		parts []reports.Run
		want  string
	}{
		"a leak nobody shows":              {leaks("1"), []reports.Run{clean, clean}, "leaks 1"},
		"a leak one part shows":            {leaks("1"), []reports.Run{clean, leaks("1")}, ""},
		"of two leaks one":                 {leaks("1", "2"), []reports.Run{leaks("1"), none("panic")}, "leaks 2"},
		"no verdict, nobody":               {none("unsettled"), []reports.Run{clean, clean}, "none unsettled"},
		"no verdict, one for the same":     {none("unsettled"), []reports.Run{clean, none("unsettled")}, ""},
		"no verdict, one for another":      {none("unsettled"), []reports.Run{clean, none("load-failed")}, "none unsettled"},
		"a guest lost, noticed by another": {none("hang"), []reports.Run{clean, none("load-hang")}, ""},
		"a guest lost, a part not clean":   {none("panic"), []reports.Run{none("warn")}, "none panic"},
	} {
		got := ""
		if rest := unexplained(tt.whole, tt.parts); rest != nil {
			got = string(rest.Verdict) + " " + rest.Reason
			for _, l := range rest.Leaks {
				got += l.Signature
			}
		}
		assert.Equal(t, tt.want, got, name)
	}
}

// A result is found again under the same conditions only.
func TestSweepKeyHasEveryCondition(t *testing.T) {
	s := &Sweep{Gate: &Gate{}, Scenario: &scenarios.Scenario{}}
	c := cell{arch: "x86_64", kernel: &kernels.Kernel{Key: "key"}}
	of := func() string {
		text, err := s.conditions(c)
		require.NoError(t, err)
		return text
	}
	seen := map[string]string{of(): "nothing"}
	for name, change := range map[string]func(){
		"baseline":    func() { s.Gate.Baseline = &reports.Baseline{Leaks: []reports.BaselineEntry{{Signature: "1"}}} },
		"error paths": func() { s.Scenario.ErrorPaths = "true" },
		"all":         func() { s.Scenario.ErrorPaths = "all" },
		"clock":       func() { s.Scenario.Clock = ClockReal },
		"memory":      func() { s.Scenario.Memory = "1G" },
		"cmdline":     func() { s.Scenario.Cmdline = "quiet" },
		"allow-warn":  func() { s.Scenario.AllowWarn = true },
		"fail-on":     func() { s.Scenario.FailOn = "any" },
		"timeout":     func() { s.Scenario.Timeout++ },
		"arch":        func() { c.arch = "arm64" },
		"kernel":      func() { c.kernel = &kernels.Kernel{Key: "other"} },
	} {
		change()
		assert.Empty(t, seen[of()], name)
		seen[of()] = name
	}
	s.Scenario.Name, s.Scenario.Dir, s.Scenario.Kernels = "sweep", "out", []string{"6.12", "6.1"}
	assert.NotEmpty(t, seen[of()], "where the report goes, and what else is swept, changes no result")
	tool, err := ownHash()
	require.NoError(t, err)
	assert.Contains(t, of(), tool)
}

func TestSweepsReproduceSaysWhatWasSaid(t *testing.T) {
	here, err := os.Getwd()
	require.NoError(t, err)
	s := &Sweep{Gate: &Gate{Flags: []string{"--config=my.config", "--error-paths=all", "--cmdline=a b"}},
		Scenario: &scenarios.Scenario{Clock: ClockReal}, Extra: []string{filepath.Join(here, "drivers/foo")}}
	k := &sweptKernel{Sweep: s, cell: cell{source: "6.12", arch: "arm64"}}
	a, b := turn{module: kernels.Module{Name: "a"}}, turn{module: kernels.Module{Name: "b"}}
	const flags = "kmemgate sweep --kernel 6.12 --arch arm64 --clock real --config=my.config --error-paths=all '--cmdline=a b' --extra drivers/foo"
	assert.Equal(t, flags+" a", k.reproduce(a))
	assert.Equal(t, flags+" --jobs 1 --group 2 a b", k.reproduce(a, b))
}

func TestTwoSweepsDoNotShareAFolder(t *testing.T) {
	out := t.TempDir()
	lock, err := lockDir(out)
	require.NoError(t, err)
	_, err = (&Sweep{Gate: &Gate{Out: out}, Scenario: &scenarios.Scenario{}}).Run(t.Context())
	assert.ErrorContains(t, err, "another sweep is at work in "+out)
	assert.ErrorAs(t, err, new(UsageError))
	require.NoError(t, lock.Close())
	_, err = (&Sweep{Gate: &Gate{Out: out}, Scenario: &scenarios.Scenario{}}).Run(t.Context())
	assert.NoError(t, err, "it is free again")
}
