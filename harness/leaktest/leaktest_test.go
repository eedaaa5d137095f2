package leaktest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/harness"
	"github.com/kmemgate/kmemgate/reports"
	"github.com/kmemgate/kmemgate/scenarios"
)

// gatedDirs names the drivers that TestGated gates: it is a test of somebody
// else's repository, run as a process of its own, since what is tested here is
// how a test skips and fails.
const gatedDirs = "LEAKTEST_DIRS"

func TestGated(t *testing.T) {
	dirs := os.Getenv(gatedDirs)
	if dirs == "" {
		t.Skip("run by the other tests of this package")
	}
	Run(t, Options{
		Pairs: []string{"6.12/" + scenarios.HostArch()}, BuiltOnly: os.Getenv("LEAKTEST_BUILT_ONLY") != "", Env: []string{gatedDirs + "=" + dirs},
	}, filepath.SplitList(dirs)...)
}

// gated runs TestGated with more environment and arguments, and returns what it
// printed and whether it passed.
func gated(t *testing.T, dirs string, env []string, args ...string) (string, bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], append([]string{"-test.run", "^TestGated$", "-test.v"}, args...)...)
	cmd.Env = append(os.Environ(), append([]string{"CI=", gatedDirs + "=" + dirs}, env...)...)
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}

const clean = "../../scenarios/clean"

func TestWithoutQEMUItSkipsAndSaysSo(t *testing.T) {
	out, ok := gated(t, clean, []string{"PATH=" + t.TempDir()})
	require.True(t, ok, out)
	require.Contains(t, out, "--- SKIP: TestGated/6.12")
	require.Contains(t, out, "qemu-system-")
	require.Contains(t, out, "kmemgate doctor")
}

func TestWithoutQEMUItFailsInCI(t *testing.T) {
	out, ok := gated(t, clean, []string{"PATH=" + t.TempDir(), "CI=true"})
	require.False(t, ok, out)
	require.Contains(t, out, "--- FAIL: TestGated/6.12")
	require.Contains(t, out, "not found")
}

// needsQEMU is for tests of what comes after the look for it.
func needsQEMU(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("wants QEMU and, some of them, a kernel")
	}
	needQEMU(t, scenarios.HostArch())
}

func TestATooShortDeadlineIsToldAtOnce(t *testing.T) {
	needsQEMU(t)
	empty := "XDG_CACHE_HOME=" + t.TempDir()
	build := "kmemgate kernel build 6.12/" + scenarios.HostArch()
	out, ok := gated(t, clean, []string{empty}, "-test.timeout", "60s")
	require.True(t, ok, out)
	require.Contains(t, out, "-timeout is too short for a kernel build")
	require.Contains(t, out, build)
	out, ok = gated(t, clean, []string{empty, "CI=true"}, "-test.timeout", "60s")
	require.False(t, ok, out)
	require.Contains(t, out, build)
}

func TestBuiltOnlyNeverBuilds(t *testing.T) {
	needsQEMU(t)
	out, ok := gated(t, clean, []string{"XDG_CACHE_HOME=" + t.TempDir(), "LEAKTEST_BUILT_ONLY=1"}, "-test.timeout", "60m")
	require.True(t, ok, out)
	require.Contains(t, out, "kmemgate kernel build 6.12/"+scenarios.HostArch())
	require.NotContains(t, out, "too short")
}

// A kernel of the scenario's own is looked for as well, and only that scenario
// is left out for it.
func TestTheDeadlineHeedsKconfig(t *testing.T) {
	needsQEMU(t)
	dir := driver(t, clean, "kconfig: [CONFIG_NLS_DEFAULT=\"no-such-kernel\"]\n")
	out, ok := gated(t, dir, nil, "-test.timeout", "60s")
	require.True(t, ok, out)
	require.Contains(t, out, "with CONFIG_NLS_DEFAULT")
	require.Contains(t, out, "kmemgate run "+dir+" --kernel 6.12 --arch "+scenarios.HostArch())
	require.Contains(t, out, "--- SKIP: TestGated/6.12/"+scenarios.HostArch()+"/"+filepath.Base(dir))
}

func TestTwoDriversOfOneNameAreRefused(t *testing.T) {
	out, ok := gated(t, clean+string(filepath.ListSeparator)+driver(t, clean, ""), nil)
	require.False(t, ok)
	require.Contains(t, out, "have one name")
}

// driver copies a scenario, with another kmemgate.yml.
func driver(t *testing.T, from, text string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), filepath.Base(from))
	require.NoError(t, os.CopyFS(dir, os.DirFS(from)))
	require.NoError(t, os.WriteFile(filepath.Join(dir, scenarios.FileName), []byte(text), 0o644))
	return dir
}

func TestRepeatCommand(t *testing.T) {
	here, err := os.Getwd()
	require.NoError(t, err)
	require.Equal(t, "cd "+here+` && go test -count=1 -v -artifacts -run '^TestScenarios$/^6\.12$/^arm64$/^api-not-leak$'`,
		repeatCommand(nil, "TestScenarios/6.12/arm64/api-not-leak"))
	require.Equal(t, "cd "+here+` && KMEMGATE_PAIRS='6.1/arm64 7/arm64' go test -count=1 -v -artifacts -run '^T$/^it'\''s$'`,
		repeatCommand([]string{"KMEMGATE_PAIRS=6.1/arm64 7/arm64"}, "T/it's"))
}

const leaking = "../../scenarios/leak-on-exit"

// A failure says what was expected and what came, shows the record, and prints
// a command that runs this one test and no other.
func TestWhatAFailurePrints(t *testing.T) {
	needsBuilt(t)
	dir := driver(t, leaking, "expect: {verdict: clean}\n")
	out, ok := gated(t, dir+string(filepath.ListSeparator)+clean, nil)
	require.False(t, ok, out)
	require.Contains(t, out, "verdict: want clean, got leaks")
	require.Contains(t, out, "unreferenced object")
	m := regexp.MustCompile(`run just this one:\n\s+(cd .*)\n`).FindStringSubmatch(out)
	require.NotNil(t, m, out)
	cmd := exec.CommandContext(t.Context(), "sh", "-c", strings.ReplaceAll(m[1], "-artifacts ", ""))
	again, err := cmd.CombinedOutput()
	require.Error(t, err, "it fails as the test did")
	require.Contains(t, string(again), "/leak-on-exit (")
	require.NotContains(t, string(again), "/clean (")
}

// needsBuilt is for tests that gate a driver.
func needsBuilt(t *testing.T) {
	t.Helper()
	needsQEMU(t)
	Options{BuiltOnly: true}.needKernel(t, newGate(t), &scenarios.Scenario{}, pair{"6.12", scenarios.HostArch()})
}

// Without an expectation a driver is judged as `kmemgate run` judges it.
func TestFailOnAndBaselineAreHeeded(t *testing.T) {
	needsBuilt(t)
	out, ok := gated(t, driver(t, leaking, ""), nil)
	require.False(t, ok, out)
	out, ok = gated(t, driver(t, leaking, "fail_on: never\n"), nil)
	require.True(t, ok, out)

	known := driver(t, leaking, "")
	s, err := scenarios.Load(known)
	require.NoError(t, err)
	gate := newGate(t)
	run, err := gate.One(t.Context(), s, "6.12", scenarios.HostArch())
	require.NoError(t, err)
	require.Equal(t, reports.Leaks, run.Verdict)
	f, err := os.Create(harness.BaselinePath(s))
	require.NoError(t, err)
	require.NoError(t, reports.WriteBaseline(f, reports.NewBaseline(reports.NewReport([]reports.Run{run}))))
	require.NoError(t, f.Close())
	out, ok = gated(t, known, nil)
	require.True(t, ok, out)

	require.NoError(t, os.WriteFile(filepath.Join(known, scenarios.FileName), []byte("fail_on: any\n"), 0o644))
	out, ok = gated(t, known, nil)
	require.False(t, ok, "what is known fails where any leak does: %s", out)
}

// A file that speaks of other kernels only judges nothing: on a desk a skip
// that says so before anything runs, in CI a failure.
func TestAnExpectationForOtherKernels(t *testing.T) {
	needsBuilt(t)
	dir := driver(t, leaking, "expect: {kernels: [\"4.19\"], why: it is old, verdict: clean}\n")
	out, ok := gated(t, dir, nil)
	require.True(t, ok, out)
	require.Contains(t, out, "expect says nothing of kernel 6.12.")
	out, ok = gated(t, dir, []string{"CI=true"})
	require.False(t, ok, out)
}
