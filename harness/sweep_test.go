package harness

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/kernels"
	"github.com/kmemgate/kmemgate/reports"
	"github.com/kmemgate/kmemgate/scenarios"
)

func testModules(names ...string) (all []kernels.Module, paths map[string]string) {
	paths = map[string]string{}
	for _, path := range names {
		name := kernels.ModuleName(filepath.Base(path))
		all = append(all, kernels.Module{Name: name})
		paths[name] = path
	}
	return all, paths
}

func moduleNames(list []kernels.Module) []string {
	var names []string
	for _, m := range list {
		names = append(names, m.Name)
	}
	return names
}

func TestChoiceTakesModulesByNamePathAndDirectory(t *testing.T) {
	all, paths := testModules("drivers/net/dummy.ko", "drivers/net/bonding/bonding.ko", "drivers/md/dm-mod.ko", "drivers/md/dm-zero.ko", "crypto/lz4.ko")
	for _, tt := range []struct {
		patterns []string
		want     []string
	}{
		{nil, []string{"bonding", "dm_mod", "dm_zero", "dummy", "lz4"}},
		{[]string{"dm_*"}, []string{"dm_mod", "dm_zero"}},
		{[]string{"dm-zero"}, []string{"dm_zero"}},
		{[]string{"drivers/net/*"}, []string{"dummy"}},
		{[]string{"drivers/net"}, []string{"bonding", "dummy"}},
		{[]string{"drivers/net/"}, []string{"bonding", "dummy"}},
		{[]string{"crypto", "drivers/md/dm-zero.ko", "drivers/net/dummy.o"}, []string{"dm_zero", "dummy", "lz4"}},
	} {
		got, err := Choice{Patterns: tt.patterns}.choose(all, paths)
		require.NoError(t, err)
		assert.Equal(t, tt.want, moduleNames(got), "%q", tt.patterns)
	}
	_, err := Choice{Patterns: []string{"crypto", "net"}}.choose(all, paths)
	assert.ErrorContains(t, err, `"net" matches none of the 5 modules`)
	_, err = Choice{Patterns: []string{"[a"}}.choose(all, paths)
	assert.ErrorAs(t, err, new(UsageError))
}

func TestShardsTakeEveryModuleOnce(t *testing.T) {
	var files []string
	for i := range 23 {
		files = append(files, fmt.Sprintf("lib/m%02d.ko", i))
	}
	all, paths := testModules(files...)
	var got []string
	for shard := 1; shard <= 5; shard++ {
		part, err := Choice{Shard: shard, Shards: 5}.choose(all, paths)
		require.NoError(t, err)
		assert.InDelta(t, 23.0/5, len(part), 1)
		got = append(got, moduleNames(part)...)
	}
	assert.ElementsMatch(t, moduleNames(all), got)
}

func TestShardAndSkipListAreChecked(t *testing.T) {
	shard, shards, err := ParseShard("2/3")
	require.NoError(t, err)
	assert.Equal(t, [2]int{2, 3}, [2]int{shard, shards})
	for _, text := range []string{"", "0/3", "4/3", "1", "1/3x", "-1/3", "1/0"} {
		_, _, err := ParseShard(text)
		assert.ErrorAs(t, err, new(UsageError), text)
	}
	rules, err := ParseSkips("skip.txt", []byte("# why not\n\ntest_bpf # takes minutes\ndrivers/md # no\n"))
	require.NoError(t, err)
	assert.Equal(t, []SkipRule{{"test_bpf", "takes minutes"}, {"drivers/md", "no"}}, rules)
	_, err = ParseSkips("skip.txt", []byte("\nfoo\n"))
	assert.ErrorContains(t, err, "skip.txt:2: foo: give a reason")
}

// record is one object in kmemleak's file.
func record(address, jiffies int) string {
	return fmt.Sprintf("unreferenced object 0xffff88800000%04x (size 64):\n  comm \"init\", pid 90, jiffies %d\n"+
		"  hex dump (first 16 bytes):\n    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00  ................\n"+
		"  backtrace (crc 0):\n    kmemleak_alloc+0x6e/0x77\n", address, jiffies)
}

func TestTextsAreCutByTurns(t *testing.T) {
	log := "[ 1.0] boot\r\n" +
		"[ 2.0] kmemgate: turn of a begins\r\n[ 2.1] a: hello\r\n[ 2.2] kmemgate: turn of a ends, 7 objects tracked\r\n" +
		"[ 3.0] kmemgate: turn of b begins\r\n[ 3.1] b: no device\r\n[ 3.2] kmemgate: turn of b ends\r\n" +
		"[ 9.0] settled\r\n"
	g := &groupRun{
		turns: []turn{{module: kernels.Module{Name: "a"}}, {module: kernels.Module{Name: "b"}, needs: []kernels.Module{{Name: "lib"}}}},
		capture: &reports.Capture{
			Dmesg: []byte(log),
			Last:  []byte(record(1, 10) + record(2, 101) + record(3, 150) + record(4, 200)),
			Loads: []reports.Load{
				{Module: "kmemleak_test", Canary: true, Begin: 5, End: 9},
				{Module: "a", Begin: 100, End: 120},
				{Module: "lib", Begin: 200, End: 230}, {Module: "b", Begin: 210, End: 211, Errno: "ENODEV"},
			},
		},
	}
	p := divide(g)
	assert.Equal(t, record(1, 10), string(p.last.of(-1)), "what was there before the first turn")
	assert.Equal(t, record(1, 10)+record(2, 101)+record(3, 150), string(p.last.of(0)), "a turn lasts until the next")
	assert.Equal(t, record(1, 10)+record(4, 200), string(p.last.of(1)))
	require.NotNil(t, p.tracked[0])
	assert.Equal(t, 7, *p.tracked[0])
	assert.Nil(t, p.tracked[1], "it was not counted")
	assert.Empty(t, p.refused(0))
	assert.Equal(t, "ENODEV", p.refused(1))
	assert.Equal(t, "b: no device", p.words(1))
	assert.Equal(t, "[ 1.0] boot\r\n[ 9.0] settled\r\n", string(p.dmesgOf(-1)))
	assert.Contains(t, string(p.dmesgOf(0)), "a: hello")
	assert.NotContains(t, string(p.dmesgOf(0)), "b: no device")
	assert.Len(t, p.loadsOf(1), 3, "the canary's, and its own")
	assert.Equal(t, -1, unfinished(g))

	at := strings.Index(log, "[ 3.1]")
	g.capture.Dmesg, g.capture.Console = nil, []byte(log[:at]+"[ 3.1] Kernel panic - not syncing: b\r\n")
	assert.Equal(t, 1, unfinished(g), "the console tells in whose turn the guest was lost")

	g.capture.Last = []byte("unreferenced rubbish\n")
	assert.Equal(t, "unreferenced rubbish\n", string(divide(g).last.of(0)), "what cannot be cut is judged whole")
}

func TestRefusalsThatAreFailuresAreNotPassedOver(t *testing.T) {
	clean := reports.Run{Verdict: reports.Clean}
	run := refusedRun(clean, "ENODEV", "foo: no device")
	assert.Equal(t, reports.Skipped, run.Verdict)
	assert.Equal(t, "not applicable: its load was refused with ENODEV: foo: no device", run.Reason)
	for _, tt := range []struct {
		errno, words string
		want         reports.Verdict
	}{
		{"ENXIO", "", reports.Skipped},
		{"EOPNOTSUPP", "", reports.Skipped},
		{"EAGAIN", "test_foo: all tests passed", reports.Skipped},
		{"ENOENT", "foo: Direct firmware load for foo.bin failed with error -2", reports.Skipped},
		{"ENOENT", "", reports.None},
		{"ENOENT", "foo: Unknown symbol bar (err -2)", reports.None},
		{"ENODEV", "foo: Unknown symbol bar (err -19)", reports.None},
		{"ENOMEM", "", reports.None},
		{"ENOEXEC", "", reports.None},
		{"EEXIST", "", reports.None},
		{"EINVAL", "", reports.None},
		{"EBUSY", "", reports.None},
		{"EFAULT", "", reports.None},
		{"", "", reports.None},
	} {
		run := refusedRun(clean, tt.errno, tt.words)
		assert.Equal(t, tt.want, run.Verdict, "%s %s", tt.errno, tt.words)
		if tt.want == reports.None {
			assert.Equal(t, "load-failed", run.Reason)
			assert.Contains(t, run.Detail, "--skip FILE")
		}
	}
}

// A module that takes long has the time to itself, and the rest is shared.
func TestTurnsHaveTheirOwnTime(t *testing.T) {
	two := []turn{{module: kernels.Module{Name: "quick"}}, {module: kernels.Module{Name: "slow"}}}
	of := func(log string) parts {
		return divide(&groupRun{turns: two, capture: &reports.Capture{Dmesg: []byte(log)}})
	}
	p := of("[    1.000000] boot\n" +
		"[   10.000000] kmemgate: turn of quick begins\n[   11.000000] kmemgate: turn of quick ends\n" +
		"[   11.000000] kmemgate: turn of slow begins\n[   16.000000] kmemgate: turn of slow ends\n" +
		"[   20.000000] scans\n")
	assert.InDelta(t, 0.3, p.share(0), 1e-9, "(1 + 4/2) of 10 seconds")
	assert.InDelta(t, 0.7, p.share(1), 1e-9)
	assert.InDelta(t, 1, p.share(everything), 0)
	p = of("[   10.000000] kmemgate: turn of quick begins\n[   11.000000] kmemgate: turn of quick ends\n")
	assert.InDelta(t, 0.5, p.share(1), 1e-9, "where marks are lost nothing is known")
	p = of("")
	assert.InDelta(t, 0.5, p.share(0), 1e-9)
}

func TestSweepStateIsKeptAndChecked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sweep.json")
	s, err := openSweepState(path)
	require.NoError(t, err)
	run := reports.Run{Scenario: "dummy", Verdict: reports.Clean, Leaks: []reports.Leak{}}
	require.NoError(t, s.put(map[string]sweptModule{"dummy 01": {Run: run}}))
	require.NoError(t, s.postpone(sweptGroup{run, []string{"dummy 01", "veth 01"}}))
	s, err = openSweepState(path)
	require.NoError(t, err)
	done, ok := s.get("dummy 01")
	assert.True(t, ok)
	assert.Equal(t, run, done.Run)
	both := map[string]bool{"dummy 01": true, "veth 01": true, "loop 01": true}
	waiting := s.pending(both)
	require.Len(t, waiting, 1)
	assert.Empty(t, s.pending(map[string]bool{"dummy 01": true}), "a choice of one of the two")
	require.NoError(t, s.settle(waiting[0], &run))
	assert.Empty(t, s.pending(both))
	assert.Len(t, s.groups(both), 1)
	assert.Empty(t, s.groups(map[string]bool{"veth 01": true, "loop 01": true}))
	require.NoError(t, s.remove())
	assert.NoFileExists(t, path)

	require.NoError(t, os.WriteFile(path, []byte(`{"schema":"kmemgate.sweep/v1","done":{}}`), 0o644))
	_, err = openSweepState(path)
	assert.ErrorContains(t, err, "remove it to begin anew")
	require.NoError(t, os.WriteFile(path, []byte(`{"schema"`), 0o644))
	_, err = openSweepState(path)
	assert.ErrorAs(t, err, new(UsageError))
}

// testSweep is a sweep of modules in testdata/sweep on the plain kernel.
func testSweep(t testing.TB, modules ...string) *Sweep {
	t.Helper()
	gate := cachedGate(t, "6.12", "x86_64")
	s, err := scenarios.Parse("sweep", nil)
	require.NoError(t, err)
	s.Name, s.Kernels, s.Arches = "sweep", []string{"6.12"}, []string{"x86_64"}
	return &Sweep{Gate: gate, Scenario: s, Extra: []string{"testdata/sweep"}, Choice: Choice{Patterns: modules}}
}

// leakLine is the line that a module of testdata/sweep marks as its leak.
func leakLine(t *testing.T, module string) int {
	t.Helper()
	for i, line := range bytes.Split(readFile(t, "testdata/sweep/"+module+".c"), []byte("\n")) {
		if bytes.Contains(line, []byte("/* the leak */")) {
			return i + 1
		}
	}
	require.Fail(t, "no line is marked", module)
	return 0
}

func outcomes(r *reports.Report) map[string]string {
	all := map[string]string{}
	for _, run := range r.Runs {
		all[run.Scenario] = strings.TrimSpace(string(run.Verdict) + " " + run.Reason)
	}
	return all
}

// Three leak, each in its own way, among others that do not.
func TestSweepNamesThePlantedLeaks(t *testing.T) {
	s := testSweep(t, "quiet_*", "loses_early", "loses_late", "loses_at_work", "no_hardware", "permanent")
	report, err := s.Run(t.Context())
	require.NoError(t, err)
	assert.Equal(t, reports.Leaks, report.Verdict)
	assert.Len(t, report.Runs, 11)
	planted := map[string]string{"loses_early": "lose_early", "loses_late": "lose_late", "loses_at_work": "lose_at_work"}
	for _, run := range report.Runs {
		function, leaks := planted[run.Scenario]
		switch {
		case leaks:
			require.Len(t, run.Leaks, 1, run.Scenario)
			assert.Equal(t, reports.Leaks, run.Verdict)
			assert.Equal(t, function, run.Leaks[0].Function)
			assert.Equal(t, run.Scenario, run.Leaks[0].Module)
			assert.Equal(t, run.Scenario+".c", run.Leaks[0].File)
			assert.Equal(t, leakLine(t, run.Scenario), run.Leaks[0].Line)
			checkEvidence(t, s.Gate, run)
		case run.Scenario == "no_hardware":
			assert.Equal(t, reports.Skipped, run.Verdict)
			assert.Contains(t, run.Reason, "ENODEV: no_hardware: no device answers")
		case run.Scenario == "permanent":
			assert.Equal(t, reports.Skipped, run.Verdict)
			assert.Contains(t, run.Reason, "cannot be unloaded")
		default:
			assert.Equal(t, reports.Clean, run.Verdict, run.Scenario)
			assert.Equal(t, 1, run.Stats.Loads, run.Scenario)
			assert.Equal(t, 1, run.Stats.Tracked, run.Scenario)
		}
	}
	assert.NoFileExists(t, s.resume())
}

// checkEvidence makes the judgement again from the run's folder.
func checkEvidence(t *testing.T, g *Gate, run reports.Run) {
	t.Helper()
	dir := filepath.Join(g.Out, run.Dir)
	assert.Equal(t, run.Scenario, filepath.Base(dir))
	c, err := reports.ReadCapture(dir)
	require.NoError(t, err)
	again := reports.Judge(c, reports.Policy{})
	assert.Equal(t, run.Verdict, again.Verdict)
	require.Len(t, again.Leaks, len(run.Leaks))
	assert.Equal(t, run.Leaks[0].Signature, again.Leaks[0].Signature)
	assert.Equal(t, run.Leaks[0].Line, again.Leaks[0].Line)
}

// A module that panics, hangs, oopses or stays loaded costs its group a retry,
// and a leak without the module's code on its stack costs a guest of its own.
func TestSweepOutlivesWhatMisbehaves(t *testing.T) {
	s := testSweep(t, "quiet_a", "quiet_b", "loses_early", "loses_abroad", "panics", "hangs", "oopses", "stays", "warns")
	report, err := s.Run(t.Context())
	require.NoError(t, err)
	got := outcomes(report)
	assert.Contains(t, []string{"none oops", "none load-hang"}, got["oopses"])
	delete(got, "oopses")
	assert.Equal(t, map[string]string{
		"quiet_a": "clean", "quiet_b": "clean", "loses_early": "leaks", "loses_abroad": "leaks",
		"panics": "none panic", "hangs": "none load-hang", "stays": "none unload-failed", "warns": "none warn",
	}, got)
}

// What shows only with two modules in one guest is not lost when they are parted.
func TestSweepKeepsWhatOnlyAGroupShows(t *testing.T) {
	s := testSweep(t, "quiet_a", "primes", "was_primed")
	s.Gate.Host.Jobs = 1
	report, err := s.Run(t.Context())
	require.NoError(t, err)
	require.Len(t, report.Runs, 4)
	for _, run := range report.Runs[:3] {
		assert.Equal(t, reports.Clean, run.Verdict, run.Scenario)
	}
	group := report.Runs[3]
	assert.Equal(t, reports.Leaks, group.Verdict)
	require.Len(t, group.Leaks, 1)
	assert.Equal(t, int64(12<<10), group.Leaks[0].Bytes)
	assert.Contains(t, strings.Join(group.Warnings, "\n"), "only with these modules in one guest, loaded one after the other: ")
	assert.FileExists(t, filepath.Join(s.Gate.Out, group.Dir, "kmemleak.txt"))
}

// A module that leaks in an error path alone is clean until that is walked. A walk
// that is killed goes on with what it has.
func TestSweepWalksErrorPathsAndGoesOn(t *testing.T) {
	testSweep(t) // skips where it cannot run
	out := t.TempDir()
	var log bytes.Buffer
	cmd := startSweep(t, &log, out, sweepHelperWalks+"=yes")
	walked := func() (names []string) {
		s, err := openSweepState(filepath.Join(out, "sweep.json"))
		require.NoError(t, err)
		for _, m := range s.file.Done {
			if m.Walked {
				names = append(names, m.Run.Scenario)
			}
		}
		return names
	}
	require.Eventually(t, func() bool { return len(walked()) > 0 }, 5*time.Minute, 10*time.Millisecond)
	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait()
	before := walked()
	require.Less(t, len(before), 4, "it was killed amid the walks")

	log.Reset()
	cmd = startSweep(t, &log, out, sweepHelperWalks+"=yes")
	require.NoError(t, cmd.Wait(), log.String())
	assert.Contains(t, log.String(), "4 of 4 modules were judged before, going on")
	for _, run := range readSwept(t, out).Runs {
		require.NotNil(t, run.Walk, run.Scenario)
		if run.Scenario != "slips_on_error" {
			assert.Equal(t, reports.Clean, run.Verdict, run.Scenario)
			assert.Equal(t, &reports.WalkResult{Allocations: 1, Failed: 1, Findings: []reports.Finding{}}, run.Walk, run.Scenario)
			continue
		}
		assert.Equal(t, reports.Leaks, run.Verdict)
		require.Len(t, run.Leaks, 1)
		assert.Equal(t, "slip", run.Leaks[0].Function)
		assert.Equal(t, leakLine(t, "slips_on_error"), run.Leaks[0].Line)
		assert.Equal(t, []string{"leak 2 slips_on_error.c:13 ENOMEM"}, found(run))
		assert.Equal(t, "kmemgate sweep --kernel 6.12 --arch x86_64 --extra testdata/sweep slips_on_error --error-paths=2", run.Walk.Findings[0].Alone)
	}
}

// readSwept is the report of a sweep that has ended.
func readSwept(t *testing.T, out string) reports.Report {
	t.Helper()
	f, err := os.Open(filepath.Join(out, "report.json"))
	require.NoError(t, err)
	defer f.Close()
	report, err := reports.ReadJSON(f)
	require.NoError(t, err)
	return report
}

// startSweep starts TestSweepHelper's sweep in a process of its own.
func startSweep(t *testing.T, log *bytes.Buffer, out string, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSweepHelper$", "-test.v")
	cmd.Env = append(append(os.Environ(), sweepHelperOut+"="+out), env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, cmd.Start())
	return cmd
}

const (
	sweepHelperOut   = "KMEMGATE_TEST_SWEEP_OUT"
	sweepHelperWalks = "KMEMGATE_TEST_SWEEP_WALKS"
)

// TestSweepHelper is the sweep that the tests kill.
func TestSweepHelper(t *testing.T) {
	out := os.Getenv(sweepHelperOut)
	if out == "" {
		t.Skip("runs in a process of the tests that kill it")
	}
	s := testSweep(t, "quiet_*", "loses_*", "no_hardware", "stays")
	if os.Getenv(sweepHelperWalks) != "" {
		s = testSweep(t, "quiet_a", "quiet_b", "quiet_c", "slips_on_error")
		s.Scenario.ErrorPaths = "true"
	}
	s.Gate.Out, s.Gate.Host.Jobs, s.Group = out, 1, 3
	_, err := s.Run(t.Context())
	require.NoError(t, err)
}

func TestSweepGoesOnWhereItWasKilled(t *testing.T) {
	testSweep(t) // skips where it cannot run
	out := t.TempDir()
	state := filepath.Join(out, "sweep.json")
	var log bytes.Buffer
	start := func() *exec.Cmd {
		log.Reset()
		return startSweep(t, &log, out)
	}
	var known []string
	for round := range 3 { // each is killed as soon as it has written something, or soon after
		cmd := start()
		before := readState(t, state)
		require.Eventually(t, func() bool { return len(readState(t, state)) > len(before) }, 3*time.Minute, 20*time.Millisecond)
		time.Sleep(time.Duration(round) * 400 * time.Millisecond)
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait()
		now := readState(t, state)
		for _, key := range known {
			assert.Contains(t, now, key, "what was judged is lost")
		}
		known = now
	}
	cmd := start()
	require.NoError(t, cmd.Wait(), log.String())
	assert.Contains(t, log.String(), fmt.Sprintf("%d of 12 modules were judged before, going on", len(known)))

	report := readSwept(t, out)
	want := map[string]string{"loses_early": "leaks", "loses_late": "leaks", "loses_at_work": "leaks", "loses_abroad": "leaks", "stays": "none unload-failed"}
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		want["quiet_"+name] = "clean"
	}
	got := outcomes(&report)
	assert.Contains(t, got["no_hardware"], "not applicable")
	delete(got, "no_hardware")
	assert.Equal(t, want, got)
	assert.Len(t, report.Runs, 12, "each module once")
}

// readState lists the keys in a sweep's file, which is whole at any moment.
func readState(t *testing.T, path string) []string {
	t.Helper()
	s, err := openSweepState(path)
	require.NoError(t, err)
	var keys []string
	for key := range s.file.Done {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
