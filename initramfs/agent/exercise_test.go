package main

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestScriptsAreCollected(t *testing.T) {
	for name, c := range map[string]struct {
		script, output string
		limit          time.Duration
		exit           int // -1: it is not waited for
	}{
		"output and status":              {"echo one; echo two >&2; exit 3", "one\ntwo\n", time.Minute, 3},
		"more than a pipe holds":         {"head -c 200000 /dev/zero", string(make([]byte, 200000)), time.Minute, 0},
		"the end comes after the pipe's": {"echo one; exec >&- 2>&-; sleep 0.2; exit 4", "one\n", time.Minute, 4},
		"the pipe is held for longer":    {"sleep 60 & echo one; exit 5", "one\n", time.Minute, 5},
		"too late":                       {"echo one; sleep 60", "one\n", 200 * time.Millisecond, -1},
		"too late, the pipe is closed":   {"exec >&- 2>&-; sleep 60", "", 200 * time.Millisecond, -1},
	} {
		t.Run(name, func(t *testing.T) {
			var pipe [2]int
			require.NoError(t, unix.Pipe2(pipe[:], unix.O_CLOEXEC))
			defer unix.Close(pipe[0])
			pid, err := syscall.ForkExec("/bin/sh", []string{"/bin/sh", "-c", c.script}, &syscall.ProcAttr{
				Files: []uintptr{0, uintptr(pipe[1]), uintptr(pipe[1])},
				Sys:   &syscall.SysProcAttr{Setsid: true},
			})
			unix.Close(pipe[1])
			require.NoError(t, err)
			defer unix.Kill(-pid, unix.SIGKILL) //nolint:errcheck // all may have ended
			a := &agent{}
			status, ended := a.collect(pid, pipe[0], uptime()+c.limit)
			assert.Equal(t, c.output, string(a.output))
			require.Equal(t, c.exit >= 0, ended)
			if ended {
				assert.Equal(t, c.exit, status.ExitStatus())
				return
			}
			require.NoError(t, unix.Kill(-pid, unix.SIGKILL))
			_, ended = waitUntil(pid, uptime()+time.Minute)
			assert.True(t, ended)
		})
	}
}
