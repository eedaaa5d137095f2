package harness

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/initramfs/wire"
	"github.com/kmemgate/kmemgate/reports"
)

// fakeMachine is a guest whose agent goes wrong in a given way.
func fakeMachine(t testing.TB, arch, way string) Machine {
	t.Helper()
	m := testMachine(t, arch)
	m.Initrd = []string{fakeInitrd(t, arch)}
	m.Cmdline = "fake=" + way
	return m
}

// fakeInitrd is the fake agent alone.
func fakeInitrd(t testing.TB, arch string) string {
	t.Helper()
	init := filepath.Join(t.TempDir(), "init")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", init, "./testdata/fakeagent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+arches[arch].goarch)
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	initrd := filepath.Join(t.TempDir(), "initrd")
	require.NoError(t, os.WriteFile(initrd, newc(t, map[string][]byte{"init": readFile(t, init)}), 0o644))
	return initrd
}

// TestEndings brings about each way in which a guest can end, on the cheapest
// of the machines, and expects its own reason.
func TestEndings(t *testing.T) {
	for _, tt := range []struct {
		way, reason, detail string
		console             string // must be there
		timeout             time.Duration
	}{
		{way: "done"},
		{way: "trouble", reason: wire.ReasonLoadFailed, detail: "ENOEXEC"},
		{way: "panic", reason: reports.ReasonPanic, detail: "sysrq triggered crash", console: "Call trace:"},
		{way: "exit", reason: reports.ReasonAgentDied, detail: "exitcode=0x00000300"},
		{way: "half", reason: reports.ReasonAgentDied, detail: "exitcode=0x00000300"},
		{way: "hang", reason: reports.ReasonHang, detail: `(in phase "work")`, console: "sysrq: Show Blocked State", timeout: 10 * time.Second},
		{way: "spin", reason: reports.ReasonHang, detail: "no word from the guest", console: "sysrq: Show backtrace of all active CPUs", timeout: time.Second},
		{way: "print", reason: reports.ReasonFlood, detail: "the console printed more than 64 KB"},
		{way: "huge", reason: reports.ReasonFlood, detail: "a frame of 2147483648 bytes"},
		{way: "flood", reason: reports.ReasonFlood, detail: "over 268435456 bytes in all"},
		{way: "kind", reason: reports.ReasonProtocol, detail: "kind '?'"},
		{way: "close", reason: reports.ReasonCut, detail: `closed its port before it was done (in phase "work")`},
		{way: "claim", reason: reports.ReasonCut, detail: "has 4 bytes, the guest claims 8"},
	} {
		t.Run(tt.way, func(t *testing.T) {
			m := fakeMachine(t, "arm64", tt.way)
			h := &Host{Temp: t.TempDir(), consoleMax: 64 << 10}
			out := t.TempDir()
			c, err := h.Boot(t.Context(), m, emptyJob(t), RunOptions{OutDir: out, Timeout: tt.timeout, waits: time.Second})
			require.NoError(t, err)
			assert.Equal(t, tt.reason, c.Reason)
			assert.Contains(t, c.Detail, tt.detail)
			assert.Contains(t, string(c.Console), tt.console)
			assert.Equal(t, string(c.Console), string(readFile(t, filepath.Join(out, "console.log"))))
			assert.Contains(t, string(readFile(t, filepath.Join(out, "qemu.cmd"))), "fake="+tt.way)
			assertNothingLeft(t, h.Temp)
		})
	}
}

// TestGuestsWordsAreOneLine: what a guest gives as its reason reaches terminals
// and CI systems that read lines.
func TestGuestsWordsAreOneLine(t *testing.T) {
	c := &reports.Capture{}
	a := &answer{trouble: &wire.Trouble{Reason: wire.ReasonExercise, Detail: "exit status 1\n::error::all is well\r\x1b[2J\tso\n"}}
	ending{reports.ReasonQEMU, "signal: killed"}.judge(c, a, nil)
	assert.Equal(t, "exit status 1 ::error::all is well??[2J so ; then: signal: killed", c.Detail)
}

// emptyJob is a job that a fake agent never reads.
func emptyJob(t testing.TB) []byte { return jobRegion(t, wire.Job{}, nil) }

// assertNothingLeft looks for files, and for QEMUs that work in a folder.
func assertNothingLeft(t testing.TB, dir string) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	assert.Empty(t, left)
	assert.Empty(t, qemusIn(t, dir))
}

// qemusIn lists the processes whose command line names the folder.
func qemusIn(t testing.TB, dir string) []string {
	t.Helper()
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	var pids []string
	for _, line := range lines {
		b, err := os.ReadFile(line) // a process may have ended meanwhile
		if err == nil && strings.Contains(string(b), dir) && strings.Contains(string(b), "qemu-system") {
			pids = append(pids, filepath.Base(filepath.Dir(line)))
		}
	}
	return pids
}

func killQEMUs(t testing.TB, dir string) {
	for _, pid := range qemusIn(t, dir) {
		_ = exec.Command("kill", "-KILL", pid).Run() // it may have ended
	}
}

// TestKilled ends QEMU behind our back.
func TestKilled(t *testing.T) {
	m := fakeMachine(t, "arm64", "hang")
	h := &Host{Temp: t.TempDir()}
	killer := &onFirstWord{do: func() { killQEMUs(t, h.Temp) }}
	c, err := h.Boot(t.Context(), m, emptyJob(t), RunOptions{Console: killer})
	require.NoError(t, err)
	assert.Equal(t, reports.ReasonQEMU, c.Reason)
	assert.Contains(t, c.Detail, "signal: killed")
	assertNothingLeft(t, h.Temp)
}

// TestCancelled ends the run, as Ctrl-C does.
func TestCancelled(t *testing.T) {
	m := fakeMachine(t, "arm64", "hang")
	h := &Host{Temp: t.TempDir()}
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	c, err := h.Boot(ctx, m, emptyJob(t), RunOptions{})
	require.NoError(t, err)
	assert.Equal(t, reports.ReasonInterrupted, c.Reason)
	assertNothingLeft(t, h.Temp)
}

// TestOrphaned kills the process that started a guest: its QEMU dies with it,
// and the next guest sweeps its folder.
func TestOrphaned(t *testing.T) {
	const root = "KMEMGATE_TEST_ORPHAN"
	if dir := os.Getenv(root); dir != "" {
		h := &Host{Temp: dir}
		_, _ = h.Boot(context.Background(), fakeMachine(t, "arm64", "hang"), emptyJob(t), RunOptions{})
		return
	}
	testMachine(t, "arm64") // skips
	dir := t.TempDir()
	child := otherProcess(t, root+"="+dir)
	require.Eventually(t, func() bool { return len(qemusIn(t, dir)) > 0 }, 30*time.Second, 50*time.Millisecond)
	require.NoError(t, child.Process.Kill())
	_ = child.Wait() // "signal: killed"
	require.Eventually(t, func() bool { return len(qemusIn(t, dir)) == 0 }, 5*time.Second, 10*time.Millisecond)
	stale, err := filepath.Glob(filepath.Join(dir, tempPrefix+"*"))
	require.NoError(t, err)
	require.NotEmpty(t, stale, "a killed process cannot have cleaned up")
	next, err := newTempDir(dir)
	require.NoError(t, err)
	require.NoError(t, next.remove())
	assertNothingLeft(t, dir)
}
