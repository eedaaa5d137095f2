package harness

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// otherProcess runs this test once more in a process of its own, with these
// variables, and what do does there. Nothing of what it wrote is lost by its end.
func otherProcess(t *testing.T, env ...string) *exec.Cmd {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	child.Env = append(os.Environ(), "TMPDIR="+t.TempDir()) // a child that is killed removes nothing
	child.Env = append(child.Env, env...)
	child.Stdout, child.Stderr = t.Output(), t.Output()
	require.NoError(t, child.Start())
	return child
}

// named are those of the processes that go by QEMU's name, not by a script's that
// has it among its arguments.
func named(t *testing.T, pids []string) (qemus []string) {
	t.Helper()
	for _, pid := range pids {
		comm, err := os.ReadFile("/proc/" + pid + "/comm")
		if err == nil && bytes.HasPrefix(comm, []byte("qemu-system")) {
			qemus = append(qemus, pid)
		}
	}
	return qemus
}

// keepClone keeps a clone, in a folder, by a process that ends, and returns what KEPT
// says; false in that process.
func keepClone(t *testing.T) (dir, kept string, ours bool) {
	t.Helper()
	const root = "KMEMGATE_TEST_KEEP"
	if dir := os.Getenv(root); dir != "" {
		m, h := fakeMachine(t, "arm64", "done"), testHost(t)
		h.Temp = dir
		tmpl, err := h.Template(t.Context(), m)
		require.NoError(t, err)
		c, err := tmpl.Run(t.Context(), emptyJob(t), RunOptions{Keep: true, OutDir: filepath.Join(dir, "out")})
		require.NoError(t, err)
		require.Equal(t, []string{"", "clone"}, []string{c.Reason, c.Boot}, c.Detail)
		return "", "", false
	}
	testMachine(t, "arm64") // skips
	dir = t.TempDir()
	t.Cleanup(func() { killQEMUs(t, dir) })
	require.NoError(t, otherProcess(t, root+"="+dir).Wait())
	require.Len(t, named(t, qemusIn(t, dir)), 1)
	return dir, string(readFile(t, filepath.Join(dir, "out", keptFile))), true
}

// TestKeep keeps a clone: one QEMU outlives the process that started it, and
// stands still; a person reaches and ends it as KEPT says, and nothing is left.
func TestKeep(t *testing.T) {
	dir, kept, ours := keepClone(t)
	if !ours {
		return
	}
	for command, said := range map[string]string{"info status": "VM status: paused", "info registers": "PC="} {
		assert.Contains(t, askMonitor(t, kept, command), said)
	}
	end := regexp.MustCompile(`(?m)^end it: +(.+)$`).FindStringSubmatch(kept)
	require.NotNil(t, end, kept)
	require.NoError(t, exec.Command("sh", "-c", end[1]).Run())
	require.Eventually(t, func() bool { return len(qemusIn(t, dir)) == 0 }, time.Minute, 10*time.Millisecond)
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "out")))
	assertNothingLeft(t, dir)
}

// TestSandbox has QEMU itself asked for a shell, as whoever took it over would: its
// sandbox denies it one, by its end.
func TestSandbox(t *testing.T) {
	dir, kept, ours := keepClone(t)
	if !ours {
		return
	}
	escaped := filepath.Join(dir, "escaped")
	monitor, said := openMonitor(t, kept)
	_, err := fmt.Fprintf(monitor, "migrate \"exec:echo > %s\"\n", escaped)
	require.NoError(t, err)
	_, _ = io.Copy(said, monitor) // until QEMU hangs up, or the deadline
	require.Empty(t, named(t, qemusIn(t, dir)), "QEMU lives on: %s", said)
	require.NoFileExists(t, escaped)
}

// openMonitor opens the monitor that KEPT names.
func openMonitor(t *testing.T, kept string) (monitor net.Conn, said *strings.Builder) {
	t.Helper()
	socket := regexp.MustCompile(`UNIX-CONNECT:(\S+)`).FindStringSubmatch(kept)
	require.NotNil(t, socket, kept)
	monitor, err := net.Dial("unix", socket[1])
	require.NoError(t, err)
	t.Cleanup(func() { monitor.Close() })
	require.NoError(t, monitor.SetDeadline(time.Now().Add(time.Minute)))
	return monitor, &strings.Builder{}
}

// askMonitor types a command at the monitor that KEPT names.
func askMonitor(t *testing.T, kept, command string) string {
	t.Helper()
	monitor, said := openMonitor(t, kept)
	defer monitor.Close() // it has one client at a time
	_, err := monitor.Write([]byte(command + "\n"))
	require.NoError(t, err)
	for buf := make([]byte, 4096); strings.Count(said.String(), "(qemu) ") < 2; {
		n, err := monitor.Read(buf)
		require.NoError(t, err, said.String())
		said.Write(buf[:n])
	}
	return said.String()
}

// TestKeepIsForAVerdict kills the process that would have kept a guest before
// there is an answer: the guest ends with it.
func TestKeepIsForAVerdict(t *testing.T) {
	const root = "KMEMGATE_TEST_KEEP_KILLED"
	if dir := os.Getenv(root); dir != "" {
		h := &Host{Temp: dir}
		_, _ = h.Boot(t.Context(), fakeMachine(t, "arm64", "hang"), emptyJob(t), RunOptions{Keep: true})
		return
	}
	testMachine(t, "arm64") // skips
	dir := t.TempDir()
	t.Cleanup(func() { killQEMUs(t, dir) })
	child := otherProcess(t, root+"="+dir)
	require.Eventually(t, func() bool { return len(named(t, qemusIn(t, dir))) > 0 }, time.Minute, 10*time.Millisecond)
	require.NoError(t, child.Process.Kill())
	_ = child.Wait() // "signal: killed"
	require.Eventually(t, func() bool { return len(qemusIn(t, dir)) == 0 }, time.Minute, 10*time.Millisecond)
}

// TestStrangersChild starts nothing for a parent that is gone: one that was killed
// before the child could ask for a signal at its end.
func TestStrangersChild(t *testing.T) {
	for name, kept := range map[string]bool{"for a run": false, "to be kept": true} {
		t.Run(name, func(t *testing.T) {
			dir := &tempDir{path: t.TempDir()}
			program, ran := dir.file("qemu"), dir.file("ran")
			require.NoError(t, os.WriteFile(program, []byte("#!/bin/sh\n: > "+ran+"\n"), 0o755))
			run := func(parent int) {
				line := plan{orphan: kept, qemu: program}.launcher(parent, dir)
				_ = exec.Command(line[0], line[1:]...).Run() // its status tells nothing
			}
			run(os.Getppid())
			require.NoFileExists(t, ran)
			run(os.Getpid())
			require.FileExists(t, ran)
		})
	}
}
