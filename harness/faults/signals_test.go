package faults_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

var signalRows = []row{
	{"SIGINT, SIGTERM, SIGHUP while building a module", func(t *testing.T) { interrupted(t, whileBuilding) }},
	{"SIGINT, SIGTERM, SIGHUP while making a template", func(t *testing.T) { interrupted(t, whileSaving) }},
	{"SIGINT, SIGTERM, SIGHUP while a template is restored", func(t *testing.T) { interrupted(t, whileRestoring) }},
	{"SIGINT, SIGTERM, SIGHUP while a guest works", func(t *testing.T) { interrupted(t, whileRunning) }},
	{"SIGINT, SIGTERM, SIGHUP while a guest works that is to be kept", func(t *testing.T) { interrupted(t, whileKeeping) }},
	{"SIGKILL while building a module", func(t *testing.T) { killed(t, whileBuilding) }},
	{"SIGKILL while making a template", func(t *testing.T) { killed(t, whileSaving) }},
	{"SIGKILL while a template is restored", func(t *testing.T) { killed(t, whileRestoring) }},
	{"SIGKILL while a guest works", func(t *testing.T) { killed(t, whileRunning) }},
	{"SIGKILL while a guest works that is to be kept", func(t *testing.T) { killed(t, whileKeeping) }},
	{"the terminal gone", terminalGone},
}

// phase is a stretch of a run.
type phase struct {
	name    string
	cold    []string // what the cache must lack for it
	args    []string // of the run
	reached func(d *desk, r *running) bool
}

var (
	whileBuilding = phase{"the build of a module", []string{"modules"}, nil, func(d *desk, _ *running) bool { return d.runs("make", "modules") }}
	whileSaving   = phase{"the boot of a template", []string{"templates", "controls"}, nil, func(d *desk, _ *running) bool { return d.runs(qemu, "-machine") }}
	// A clone is a QEMU that waits for its state, and has it 0.1 s later.
	whileRestoring = phase{"the restore of a template", nil, nil, func(d *desk, _ *running) bool { return d.runs(qemu, "-incoming") }}
	whileRunning   = phase{"the load of the module", nil, nil, loading}
	whileKeeping   = phase{"the load of the module", nil, []string{"--keep"}, loading}
)

func loading(_ *desk, r *running) bool {
	return strings.Contains(r.stderr.String(), "loading out-of-tree module taints kernel")
}

// reach starts a run and waits until it is in the phase.
func (p phase) reach(t *testing.T, d *desk) *running {
	t.Helper()
	r := d.start(t, d.runArgs(append(p.args, "-v")...)...)
	r.until(t, p.name, func() bool { return p.reached(d, r) })
	return r
}

// interrupted ends runs in a phase as a user, a shell or a CI does. Each says
// so, and leaves nothing; the next run has its verdict.
func interrupted(t *testing.T, p phase) {
	d := newDesk(t, p.cold...)
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		r := p.reach(t, d)
		require.NoError(t, r.cmd.Process.Signal(signal))
		begin := time.Now()
		d.wantNone(t, r.wait(), "interrupted")
		t.Logf("%v: ended after %.1f s", signal, time.Since(begin).Seconds())
	}
	d.wantLeak(t, d.run(t))
}

// killed ends a run in a phase with no chance to tidy up: its programs end by
// themselves, and the next run clears away the rest.
func killed(t *testing.T, p phase) {
	d := newDesk(t, p.cold...)
	r := p.reach(t, d)
	require.NoError(t, r.cmd.Process.Kill())
	require.Equal(t, -1, r.wait().status)
	d.nothingRuns(t)
	d.wantLeak(t, d.run(t))
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
