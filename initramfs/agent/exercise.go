package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kmemgate/kmemgate/initramfs/wire"
)

// maxOutput bounds what is kept of a script's output over all cycles.
const maxOutput = 4 << 20

// errNotStarted means that there was not even a shell.
var errNotStarted = errors.New("exercise does not start")

// exercise runs the job's script in u-root's shell, in the job's folder, and
// ends whatever it left running.
func (a *agent) exercise(cycle int) error {
	if a.job.Exercise == "" {
		return nil
	}
	script := filepath.Join(jobDir, a.job.Exercise)
	_, status, late, err := a.runScript(script, cycle, false)
	a.reap()
	if err != nil {
		return err
	}
	x := wire.Exercise{Cycle: cycle, Status: status.ExitStatus()}
	if status.Signaled() {
		x.Signal = unix.SignalName(status.Signal())
	}
	if err := a.out.Send(x); err != nil {
		return err
	}
	a.log.drain()
	switch {
	case late:
		return fail(wire.ReasonExerciseHang, fmt.Errorf("exercise: not done within %v of guest time", a.limit))
	case a.job.ExerciseMayFail:
		return nil
	case x.Signal != "":
		return fail(wire.ReasonExercise, fmt.Errorf("exercise: ended by %s (out of memory? see dmesg)", x.Signal))
	case x.Status != 0:
		return fail(wire.ReasonExercise, fmt.Errorf("exercise: exit status %d; its last words:\n%s", x.Status, a.lastOutput()))
	}
	return nil
}

// runScript runs the script to its end, or to the limit of guest time. With
// failing, it descends from a thread that is marked to have allocations fail;
// the agent's own thread is marked for the fork alone.
func (a *agent) runScript(script string, cycle int, failing bool) (pid int, status unix.WaitStatus, late bool, err error) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return 0, 0, false, fmt.Errorf("pipe: %w", err)
	}
	defer unix.Close(pipe[0])
	null := nullInput()
	defer unix.Close(null)
	if failing {
		setMakeItFail("1")
	}
	pid, err = syscall.ForkExec("/bin/sh", []string{"/bin/sh", script}, &syscall.ProcAttr{
		Dir:   jobDir,
		Env:   append(syscall.Environ(), fmt.Sprintf("KMEMGATE_CYCLE=%d", cycle)),
		Files: []uintptr{uintptr(null), uintptr(pipe[1]), uintptr(pipe[1])},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if failing {
		setMakeItFail("0")
	}
	unix.Close(pipe[1])
	if err != nil {
		return 0, 0, false, memory(fmt.Errorf("%w: /bin/sh: %w (is the userland archive there?)", errNotStarted, err))
	}
	deadline := uptime() + a.limit
	status, ended := a.collect(pid, pipe[0], deadline)
	if ended {
		return pid, status, false, nil
	}
	_ = unix.Kill(-pid, unix.SIGKILL)
	if status, ended = waitUntil(pid, uptime()+2*time.Second); !ended {
		logBlocked()
		return pid, 0, true, fail(wire.ReasonExerciseHang, fmt.Errorf("exercise: still in the kernel after %v of guest time, not even ended by SIGKILL", a.limit))
	}
	return pid, status, true, nil
}

// untoldLook is how often a script is looked after where its end is not told. Each
// look is a tick that an idle guest would have slept through: at one a millisecond
// a script that sleeps for 300 s of guest time took 38 s of the host's (measured).
const untoldLook = 100 * time.Millisecond

// collect keeps the script's output until the script itself has ended: what it
// put into the background may hold the pipe open for longer.
func (a *agent) collect(pid, pipe int, deadline time.Duration) (unix.WaitStatus, bool) {
	buf := make([]byte, 32<<10)
	end, look := endOf(pid)
	defer unix.Close(end)
	sources := []unix.PollFd{{Fd: int32(end), Events: unix.POLLIN}, {Fd: int32(pipe), Events: unix.POLLIN}}
	for {
		left := deadline - uptime()
		if left <= 0 {
			return 0, false
		}
		// To the next millisecond: with what is left of one it would not wait.
		n, err := unix.Poll(sources, int((min(left, look)+time.Millisecond-1)/time.Millisecond))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return 0, false
		}
		// Look whether the script lives, then read all there is: in this order the
		// last words are not lost.
		var status unix.WaitStatus
		got, err := unix.Wait4(pid, &status, unix.WNOHANG, nil)
		for a.readOutput(pipe, buf) {
		}
		if got == pid {
			return status, true
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return 0, false
		}
		if n > 0 && sources[1].Revents == unix.POLLHUP {
			sources[1].Fd = -1 // nobody can write into it any more, and it would say so at once, for ever
		}
	}
}

// endOf is a file that can be read from once a process has ended, and how long to
// wait for that before a look. Kernels up to 5.2 have none.
func endOf(pid int) (file int, look time.Duration) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return -1, untoldLook
	}
	return fd, time.Hour
}

func (a *agent) readOutput(pipe int, buf []byte) bool {
	fds := []unix.PollFd{{Fd: int32(pipe), Events: unix.POLLIN}}
	if n, err := unix.Poll(fds, 0); n <= 0 || err != nil {
		return false
	}
	n, err := unix.Read(pipe, buf)
	if n <= 0 || err != nil {
		return false
	}
	room := maxOutput - len(a.output)
	a.output = append(a.output, buf[:min(n, max(room, 0))]...)
	if room > 0 && n >= room {
		a.output = append(a.output, "\nkmemgate: the output is cut here\n"...)
	}
	return true
}

func (a *agent) lastOutput() []byte { return a.output[max(0, len(a.output)-1024):] }

// nullInput is /dev/null, or nothing: a script that reads its input meets its end.
func nullInput() int {
	fd, _ := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	return fd
}
