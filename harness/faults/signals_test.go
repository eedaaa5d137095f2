package faults_test

import (
	"errors"
	"fmt"
	"io/fs"
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
	"golang.org/x/sys/unix"

	"github.com/kmemgate/kmemgate/reports"
)

var signalRows = []row{
	{"SIGINT, SIGTERM, SIGHUP while fetching a source", func(t *testing.T) { interrupted(t, whileFetching) }},
	{"SIGINT, SIGTERM, SIGHUP while unpacking a source", func(t *testing.T) { interrupted(t, whileUnpacking) }},
	{"SIGINT, SIGTERM, SIGHUP while building a kernel", func(t *testing.T) { interrupted(t, whileMaking) }},
	{"SIGINT, SIGTERM, SIGHUP while compiling the guest's programs", func(t *testing.T) { interrupted(t, whileCompiling) }},
	{"SIGINT, SIGTERM, SIGHUP while building a module", func(t *testing.T) { interrupted(t, whileBuilding) }},
	{"SIGINT, SIGTERM, SIGHUP while making a template", func(t *testing.T) { interrupted(t, whileSaving) }},
	{"SIGINT, SIGTERM, SIGHUP while a template is restored", func(t *testing.T) { interrupted(t, whileRestoring) }},
	{"SIGINT, SIGTERM, SIGHUP while a guest works", func(t *testing.T) { interrupted(t, whileRunning) }},
	{"SIGINT, SIGTERM, SIGHUP while a guest works that is to be kept", func(t *testing.T) { interrupted(t, whileKeeping) }},
	{"SIGINT, SIGTERM, SIGHUP while walking the error paths", func(t *testing.T) { interrupted(t, whileWalking) }},
	{"SIGINT, SIGTERM, SIGHUP while writing the report", interruptedReport},
	{"SIGKILL while fetching a source", func(t *testing.T) { killed(t, whileFetching) }},
	{"SIGKILL while unpacking a source", func(t *testing.T) { killed(t, whileUnpacking) }},
	{"SIGKILL while building a kernel", func(t *testing.T) { killed(t, whileMaking) }},
	{"SIGKILL while compiling the guest's programs", func(t *testing.T) { killed(t, whileCompiling) }},
	{"SIGKILL while building a module", func(t *testing.T) { killed(t, whileBuilding) }},
	{"SIGKILL while making a template", func(t *testing.T) { killed(t, whileSaving) }},
	{"SIGKILL while a template is restored", func(t *testing.T) { killed(t, whileRestoring) }},
	{"SIGKILL while a guest works", func(t *testing.T) { killed(t, whileRunning) }},
	{"SIGKILL while a guest works that is to be kept", func(t *testing.T) { killed(t, whileKeeping) }},
	{"SIGKILL while walking the error paths", func(t *testing.T) { killed(t, whileWalking) }},
	{"SIGKILL while writing the report", killedReport},
	{"the terminal gone", terminalGone},
}

// phase is a stretch of a run.
type phase struct {
	name    string
	cold    []string // what the cache must lack for it
	args    []string // of the run
	reached func(d *desk, r *running) bool
	// prolong, where there is one, sees to it that the phase comes, and lasts until
	// free is called.
	prolong func(t *testing.T, d *desk) (free func())
}

var (
	whileFetching  = phase{name: "the download of a source", reached: fetching, prolong: stallServer}
	whileUnpacking = phase{name: "the unpacking of a source", prolong: stallTar,
		reached: func(d *desk, _ *running) bool { return len(d.processes("tar")) > 0 }}
	whileMaking = phase{name: "the build of a kernel", prolong: stallMake,
		reached: func(d *desk, _ *running) bool { return d.runs("make", "modules") }}
	whileCompiling = phase{name: "the build of the guest's programs", cold: []string{"userland", "templates", "controls"},
		reached: func(d *desk, _ *running) bool { return d.runs("go", "build") }}
	whileBuilding = phase{name: "the build of a module", cold: []string{"modules"},
		reached: func(d *desk, _ *running) bool { return d.runs("make", "modules") }}
	whileSaving = phase{name: "the boot of a template", cold: []string{"templates", "controls"},
		reached: func(d *desk, _ *running) bool { return d.runs(qemu, "-machine") }}
	// A clone is a QEMU that waits for its state, and has it 0.1 s later.
	whileRestoring = phase{name: "the restore of a template", reached: func(d *desk, _ *running) bool { return d.runs(qemu, "-incoming") }}
	whileRunning   = phase{name: "the load of the module", reached: says("loading out-of-tree module taints kernel")}
	whileKeeping   = phase{name: "the load of the module", reached: whileRunning.reached, args: []string{"--keep"}}
	whileWalking   = phase{name: "the walk of the error paths", reached: says("FAULT_INJECTION: forcing a failure"), args: []string{"--error-paths"},
		prolong: cleanDriver}
)

// says waits for words of the run, or of its guest.
func says(words string) func(*desk, *running) bool {
	return func(_ *desk, r *running) bool { return strings.Contains(r.stderr.String(), words) }
}

// cleanDriver has a verdict only if all of its error paths were walked.
func cleanDriver(t *testing.T, d *desk) (free func()) {
	t.Helper()
	d.driver = filepath.Join(d.dir, "clean")
	require.NoError(t, copyTree("../../scenarios/clean", d.driver))
	d.job = d.runArgs()
	return func() {}
}

// at is a desk in which the phase will come, and what ends a phase that lasts.
func (p phase) at(t *testing.T) (d *desk, free func()) {
	t.Helper()
	d = newDesk(t, p.cold...)
	if p.prolong == nil {
		return d, func() {}
	}
	return d, p.prolong(t, d)
}

// reach starts a run and waits until it is in the phase.
func (p phase) reach(t *testing.T, d *desk) *running {
	t.Helper()
	args := p.args
	if d.runArgs()[0] == "run" {
		args = append(slices.Clone(args), "-v")
	}
	r := d.start(t, d.runArgs(args...)...)
	r.until(t, p.name, func() bool { return p.reached(d, r) })
	return r
}

// polite are the signals that a program may take its time over.
var polite = []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}

// interrupted ends runs in a phase as a user, a shell or a CI does. Each says
// so, and leaves nothing; the next run has its verdict.
func interrupted(t *testing.T, p phase) {
	d, free := p.at(t)
	for _, signal := range polite {
		r := p.reach(t, d)
		require.NoError(t, r.cmd.Process.Signal(signal))
		begin := time.Now()
		d.wantNone(t, r.wait(), "interrupted")
		t.Logf("%v: ended after %.1f s", signal, time.Since(begin).Seconds())
	}
	free()
	d.wantWell(t, d.run(t))
}

// killed ends a run in a phase with no chance to tidy up: its programs end by
// themselves, and the next run clears away the rest.
func killed(t *testing.T, p phase) {
	d, free := p.at(t)
	r := p.reach(t, d)
	require.NoError(t, r.cmd.Process.Kill())
	require.Equal(t, -1, r.wait().status)
	d.nothingRuns(t)
	free()
	d.wantWell(t, d.run(t))
}

// writing waits for the first file of the evidence: report.json is the last.
func writing(t *testing.T, d *desk) *running {
	t.Helper()
	r := d.start(t, d.runArgs()...)
	r.until(t, "the evidence", func() bool {
		files, err := filepath.Glob(filepath.Join(d.out, "*", "*", "*", "*.txt"))
		return err == nil && len(files) > 0
	})
	return r
}

// wholeReport wants a report that is whole, or none.
func (d *desk) wholeReport(t *testing.T, must bool) {
	t.Helper()
	f, err := os.Open(filepath.Join(d.out, "report.json"))
	if errors.Is(err, fs.ErrNotExist) && !must {
		return
	}
	require.NoError(t, err)
	defer f.Close()
	_, err = reports.ReadJSON(f)
	require.NoError(t, err)
}

// interruptedReport comes when there is a verdict already: what is said of it is
// the right one, or none.
func interruptedReport(t *testing.T) {
	d := newDesk(t)
	for _, signal := range polite {
		r := writing(t, d)
		require.NoError(t, r.cmd.Process.Signal(signal))
		got := r.wait()
		require.Contains(t, []int{exitLeaks, exitNone}, got.status, got.said())
		d.nothingLeft(t)
		d.wholeReport(t, got.status == exitLeaks)
		require.NoError(t, os.RemoveAll(d.out))
	}
	d.wantLeak(t, d.run(t))
}

func killedReport(t *testing.T) {
	d := newDesk(t)
	for range 3 {
		r := writing(t, d)
		require.NoError(t, r.cmd.Process.Kill())
		_ = r.wait() // it may have ended just before
		d.nothingRuns(t)
		d.wholeReport(t, false)
		require.NoError(t, os.RemoveAll(d.out))
	}
	d.wantLeak(t, d.run(t))
	d.wholeReport(t, true)
}

// terminalGone hangs up on a run: its window is closed, its ssh lost.
func terminalGone(t *testing.T) {
	d := newDesk(t)
	ours, theirs := terminal(t)
	r := d.attach(t, theirs)
	theirs.Close()
	r.until(t, "a guest", func() bool { return d.runs(qemu, "-incoming") })
	require.NoError(t, ours.Close())
	<-r.ended
	assert.Equal(t, exitNone, r.cmd.ProcessState.ExitCode())
	d.nothingLeft(t)
	d.wantLeak(t, d.run(t))
}

// attach starts a run on a terminal, which controls it.
func (d *desk) attach(t *testing.T, tty *os.File) *running {
	t.Helper()
	r := &running{ended: make(chan struct{})}
	r.cmd = exec.CommandContext(t.Context(), d.binary, d.runArgs()...)
	r.cmd.Env = d.environ()
	r.cmd.Stdin, r.cmd.Stdout, r.cmd.Stderr = tty, tty, tty
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	r.launch(func() {})
	require.NoError(t, r.err)
	return r
}

// terminal makes a pseudo terminal (pts(4)).
func terminal(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { ours.Close() })
	fd := int(ours.Fd())
	require.NoError(t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	require.NoError(t, err)
	theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	require.NoError(t, err)
	return ours, theirs
}
