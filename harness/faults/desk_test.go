package faults_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// desk is one user's machine as a row wants it: a cache, a temporary folder, a
// place for the evidence and a driver of its own. It may be broken at will.
type desk struct {
	*bench
	dir    string   // all of it lies below
	xdg    string   // XDG_CACHE_HOME
	temp   string   // TMPDIR
	out    string   // --out
	driver string   // scenarios/leak-on-exit, copied
	path   []string // folders before, or, if pathOnly is set, in place of PATH
	only   bool
	env    []string
	nobody bool     // run without root's privileges
	job    []string // what is run; nil: the gate, on the driver
	wrap   []string // the command that runs it, if any
}

// limit bounds one run on a machine that does much else.
const limit = 4 * time.Minute

// newDesk is a desk with everything made, but for the kinds of cache entries
// that are named.
func newDesk(t *testing.T, cold ...string) *desk {
	t.Helper()
	b := needBench(t)
	require.NoError(t, warm())
	dir, err := os.MkdirTemp(b.dir, "desk-")
	require.NoError(t, err)
	require.NoError(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	d := &desk{bench: b, dir: dir, xdg: filepath.Join(dir, "cache")}
	require.NoError(t, copyTree(b.cache, d.xdg))
	require.NoError(t, d.furnish())
	for _, kind := range append(cold, "runs") {
		require.NoError(t, os.RemoveAll(filepath.Join(d.xdg, "kmemgate", kind)))
	}
	return d
}

// furnish makes what a desk needs besides its cache.
func (d *desk) furnish() error {
	d.temp, d.out, d.driver = filepath.Join(d.dir, "tmp"), filepath.Join(d.dir, "out"), filepath.Join(d.bench.dir, "driver")
	return os.MkdirAll(d.temp, 0o755)
}

// ownDriver copies the driver to another place, where it may be edited and is
// built anew.
func (d *desk) ownDriver(t *testing.T, name string) {
	t.Helper()
	own := filepath.Join(d.dir, name)
	require.NoError(t, copyTree(d.driver, own))
	d.driver = own
}

// runArgs is the gate on the desk's driver, or the job that it has instead.
func (d *desk) runArgs(more ...string) []string {
	if d.job != nil {
		return append(slices.Clone(d.job), more...)
	}
	return append([]string{"run", "--kernel", "6.12", "--arch", "x86_64", "--out", d.out, d.driver}, more...)
}

// run is the gate, from beginning to end.
func (d *desk) run(t *testing.T, more ...string) result {
	t.Helper()
	return d.start(t, d.runArgs(more...)...).wait()
}

func (d *desk) start(t *testing.T, args ...string) *running {
	t.Helper()
	return d.command(t.Context(), args...)
}

// running is a kmemgate that runs.
type running struct {
	cmd    *exec.Cmd
	stdout bytes.Buffer
	stderr watched
	err    error
	ended  chan struct{}
}

// result is what a user has of a run.
type result struct {
	status         int // -1: ended by a signal
	stdout, stderr string
}

// said is everything that a user read.
func (r result) said() string { return r.stderr + r.stdout }

// unwrapped is said on one line: a report is wrapped to the terminal's width.
func (r result) unwrapped() string { return strings.Join(strings.Fields(r.said()), " ") }

func (d *desk) command(ctx context.Context, args ...string) *running {
	r := &running{ended: make(chan struct{})}
	ctx, cancel := context.WithTimeout(ctx, limit)
	line := append(append(slices.Clone(d.wrap), d.binary), args...)
	r.cmd = exec.CommandContext(ctx, line[0], line[1:]...)
	r.cmd.Env = d.environ()
	r.cmd.Stdout, r.cmd.Stderr = &r.stdout, &r.stderr
	if d.nobody && os.Geteuid() == 0 {
		r.cmd.SysProcAttr = unprivileged()
	}
	r.launch(cancel)
	return r
}

func (r *running) launch(done func()) {
	if r.err = r.cmd.Start(); r.err != nil {
		done()
		close(r.ended)
		return
	}
	go func() {
		r.err = r.cmd.Wait()
		done()
		close(r.ended)
	}()
}

// nobodyID is the user that has nothing.
const nobodyID = 65534

// unprivileged drops root's privileges, all but one: the kernels lie in root's
// home, where nobody else may look.
func unprivileged() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Credential:  &syscall.Credential{Uid: nobodyID, Gid: nobodyID},
		AmbientCaps: []uintptr{unix.CAP_DAC_READ_SEARCH},
	}
}

func (d *desk) environ() []string {
	path := d.path
	if !d.only {
		path = append(path, os.Getenv("PATH"))
	}
	env := append(os.Environ(), "XDG_CACHE_HOME="+d.xdg, "TMPDIR="+d.temp, "PATH="+strings.Join(path, ":"))
	if d.nobody {
		env = append(env, "HOME="+d.dir, "GOCACHE="+filepath.Join(d.dir, "go-build"))
	}
	env = append(env, d.goEnv...)
	return append(env, d.env...)
}

func (r *running) wait() result {
	<-r.ended
	var exit *exec.ExitError
	if r.err != nil && !errors.As(r.err, &exit) {
		return result{status: -2, stderr: r.err.Error()}
	}
	return result{r.cmd.ProcessState.ExitCode(), r.stdout.String(), r.stderr.String()}
}

// over tells whether the process has ended.
func (r *running) over() bool {
	select {
	case <-r.ended:
		return true
	default:
		return false
	}
}

// watched keeps what is written and may be read meanwhile.
type watched struct {
	mu   sync.Mutex
	text bytes.Buffer
}

var _ io.Writer = (*watched)(nil)

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// until waits for a moment of a run, and fails if the run ends before it.
func (r *running) until(t *testing.T, what string, reached func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !reached(); time.Sleep(2 * time.Millisecond) {
		if r.over() || time.Now().After(end) {
			got := r.wait()
			t.Fatalf("never came as far as %s: exit status %d\n%s", what, got.status, got.said())
		}
	}
}

// processes are the desk's programs of a name, or all of them: whatever a run
// starts has its temporary folder in its environment.
func (d *desk) processes(name string) (pids []int) {
	comms, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, file := range comms {
		comm, err := os.ReadFile(file)
		if err != nil || name != "" && strings.TrimSpace(string(comm)) != name {
			continue
		}
		environ, err := os.ReadFile(filepath.Join(filepath.Dir(file), "environ"))
		if err != nil || !bytes.Contains(environ, []byte("TMPDIR="+d.temp+"\x00")) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// runs tells whether a program of the desk runs with this word among its arguments.
func (d *desk) runs(name, word string) bool {
	for _, pid := range d.processes(name) {
		args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil && slices.Contains(strings.Split(string(args), "\x00"), word) {
			return true
		}
	}
	return false
}

// qemu is the name of QEMU's process, cut as the kernel cuts it (TASK_COMM_LEN).
const qemu = "qemu-system-x86"

// nothingLeft wants no program, temporary file, lock or half-made entry left.
func (d *desk) nothingLeft(t *testing.T) {
	t.Helper()
	d.nothingRuns(t)
	left, err := os.ReadDir(d.temp)
	require.NoError(t, err)
	assert.Empty(t, left, "in the temporary folder")
	d.cacheWhole(t)
}

// nothingRuns wants all of a run's programs to end by themselves.
func (d *desk) nothingRuns(t *testing.T) {
	t.Helper()
	if !assert.Eventually(t, func() bool { return len(d.processes("")) == 0 }, 20*time.Second, 20*time.Millisecond, "programs outlive the run") {
		for _, pid := range d.processes("") { // ours, by its number
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// cacheWhole wants every entry complete, and no lock held.
func (d *desk) cacheWhole(t *testing.T) {
	t.Helper()
	root := filepath.Join(d.xdg, "kmemgate")
	half, err := filepath.Glob(filepath.Join(root, "*", "*.tmp"))
	require.NoError(t, err)
	assert.Empty(t, half, "half-made entries")
	locks, err := filepath.Glob(filepath.Join(root, "*", "*.lock"))
	require.NoError(t, err)
	for _, lock := range locks {
		if info, err := os.Lstat(lock); err != nil || !info.Mode().IsRegular() {
			continue // a link to the user's
		}
		f, err := os.Open(lock)
		require.NoError(t, err)
		assert.NoError(t, unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB), "%s is held", lock)
		f.Close()
	}
}

// wantLeak wants the right verdict on the desk's driver, and nothing left.
func (d *desk) wantLeak(t *testing.T, got result) {
	t.Helper()
	require.Equal(t, exitLeaks, got.status, got.said())
	require.Contains(t, got.stdout, "LEAKS  1 new leak (1 object, 256 bytes)")
	d.nothingLeft(t)
}

// wantWell wants what the desk's job gives where nothing breaks.
func (d *desk) wantWell(t *testing.T, got result) {
	t.Helper()
	if d.job == nil {
		d.wantLeak(t, got)
		return
	}
	require.Equal(t, exitClean, got.status, got.said())
	d.nothingLeft(t)
}

// wantNone wants no verdict, told in these words, and nothing left.
func (d *desk) wantNone(t *testing.T, got result, words ...string) {
	t.Helper()
	require.Equal(t, exitNone, got.status, got.said())
	for _, w := range words {
		assert.Contains(t, got.unwrapped(), w, got.said())
	}
	t.Logf("exit status %d:\n%s", got.status, got.said())
	d.nothingLeft(t)
}

// script writes a program of this name that stands before the real one.
func (d *desk) script(t *testing.T, name, text string) {
	t.Helper()
	dir := filepath.Join(d.dir, "bin")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text), 0o755))
	d.path = []string{dir}
}

// giveAway makes everything on the desk another user's.
func (d *desk) giveAway(t *testing.T) {
	t.Helper()
	d.nobody = true
	if os.Geteuid() != 0 {
		return // we are without privileges as it is
	}
	require.NoError(t, filepath.WalkDir(d.dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, nobodyID, nobodyID)
	}))
}
