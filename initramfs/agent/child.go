package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kmemgate/kmemgate/initramfs/wire"
)

// The verbs of a child. It is asked over its standard input, in JSON; what it has to
// say goes to descriptor 3, in frames, and is handed on to the host.
const (
	verbLoad   = "load"
	verbUnload = "unload"
	verbCanary = "canary"
	verbWalk   = "walk"

	childPort = 3
)

// request is what a child is asked to do.
type request struct {
	Verb   string         `json:"verb"`
	Module wire.JobModule `json:"module"`
	Cycle  int            `json:"cycle"`
	// Of a walk: which allocations fail, one after the other, and what to say of that.
	From     int  `json:"from,omitempty"`
	To       int  `json:"to,omitempty"`
	Filtered bool `json:"filtered,omitempty"`
	Stays    bool `json:"stays,omitempty"` // a module that loads is not unloaded
}

// Exit statuses of a child.
const (
	childOK      = 0
	childRefused = 1 // said why in a Trouble
	childBroken  = 2 // could not even do that
)

// child is the main function of a child. It waits to be asked, does it, and ends: its
// kernel stack, full of the module's addresses, goes away with it.
func child() int {
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		return childBroken
	}
	if len(text) == 0 {
		return childOK // dismissed
	}
	var r request
	if err := json.Unmarshal(text, &r); err != nil {
		return childBroken
	}
	c := &worker{out: wire.NewWriter(port(childPort)), log: openKernelLog()}
	c.log.skip()
	verbs := map[string]func(request) error{
		verbLoad: c.load, verbUnload: c.unload, verbCanary: c.canary, verbWalk: c.walkSteps,
	}
	do, known := verbs[r.Verb]
	if !known {
		return childBroken
	}
	err = do(r)
	var t *trouble
	switch {
	case err == nil:
		return childOK
	case errors.As(err, &t):
		err = c.out.Send(wire.Trouble{Reason: t.reason, Detail: clip(t.err.Error(), 4<<10)})
	default:
		err = c.out.Send(wire.Trouble{Reason: wire.ReasonAgent, Detail: clip(err.Error(), 4<<10)})
	}
	if err != nil {
		return childBroken
	}
	return childRefused
}

// worker is the child's side.
type worker struct {
	out *wire.Writer
	log *kernelLog
}

// self is this program's path. /proc/self/exe does not do: the main thread is
// gone, and with it what /proc/1 says of its memory.
const self = "/init"

// spawn runs a child to its end and returns its pid. What it says is handed to
// relay as it is. One that says nothing for longer than the limit of guest time is
// killed; one that does not even die hangs in the kernel, which is the error `hang`.
func (a *agent) spawn(verb string, r request, hang string, relay func(wire.Kind, []byte) error) (int, error) {
	r.Verb = verb
	text, err := json.Marshal(r)
	if err != nil {
		return 0, err
	}
	c, err := a.askChild(text)
	if err != nil {
		return 0, memory(fmt.Errorf("start %s: %w", verb, err))
	}
	pid := c.pid
	defer unix.Close(c.says)
	said := &timedReader{c.says, uptime() + a.limit}
	relayErr := relayFrames(said, func(kind wire.Kind, payload []byte) error {
		said.deadline = uptime() + a.limit
		return relay(kind, payload)
	})
	if errors.Is(relayErr, errLate) {
		unix.Kill(pid, unix.SIGKILL)
	}
	status, ended := waitUntil(pid, max(said.deadline, uptime()+2*time.Second))
	switch {
	case !ended:
		logBlocked()
		return pid, fail(hang, fmt.Errorf("%s %s: still in the kernel after %v of guest time, not even killed by SIGKILL", verb, r.Module.Name, a.limit))
	case errors.Is(relayErr, errLate):
		return pid, fail(hang, fmt.Errorf("%s %s: not done within %v of guest time", verb, r.Module.Name, a.limit))
	case relayErr != nil:
		return pid, relayErr
	case status.Signaled():
		return pid, fmt.Errorf("%s %s: the child was ended by %s", verb, r.Module.Name, unix.SignalName(status.Signal()))
	case status.ExitStatus() == childRefused:
		return pid, errSaid
	case status.ExitStatus() != childOK:
		return pid, fmt.Errorf("%s %s: the child ended with status %d", verb, r.Module.Name, status.ExitStatus())
	}
	return pid, nil
}

// logBlocked has the kernel log the stacks of all tasks that are blocked: where
// a module hangs (sysrq w, Documentation/admin-guide/sysrq.rst).
func logBlocked() { _, _ = writeFile("/proc/sysrq-trigger", "w") }

// memory gives ENOMEM its own reason.
func memory(err error) error {
	if errors.Is(err, unix.ENOMEM) {
		return fail(wire.ReasonOutOfMemory, err)
	}
	return err
}

// forward hands a child's message on to the host, unread.
func (a *agent) forward(kind wire.Kind, payload []byte) error { return a.out.SendRaw(kind, payload) }

func relayFrames(r io.Reader, relay func(wire.Kind, []byte) error) error {
	for {
		var head [5]byte
		if _, err := io.ReadFull(r, head[:]); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		n := binary.BigEndian.Uint32(head[:4])
		if n == 0 || n > wire.MaxFrame {
			return fmt.Errorf("a child sent a frame of %d bytes", n)
		}
		payload := make([]byte, n-1)
		if _, err := io.ReadFull(r, payload); err != nil {
			return err
		}
		if err := relay(wire.Kind(head[4]), payload); err != nil {
			return err
		}
	}
}

var errLate = errors.New("late")

// timedReader reads a pipe until a deadline of guest time.
type timedReader struct {
	fd       int
	deadline time.Duration
}

func (t *timedReader) Read(b []byte) (int, error) {
	for {
		left := t.deadline - uptime()
		if left <= 0 {
			return 0, errLate
		}
		fds := []unix.PollFd{{Fd: int32(t.fd), Events: unix.POLLIN}}
		ready, err := unix.Poll(fds, int(left.Milliseconds())+1)
		if errors.Is(err, unix.EINTR) || err == nil && ready == 0 {
			continue
		}
		if err != nil {
			return 0, err
		}
		n, err := unix.Read(t.fd, b)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err == nil && n == 0 {
			return 0, io.EOF
		}
		return max(n, 0), err
	}
}

// waitUntil reaps one child by a time of guest time.
func waitUntil(pid int, deadline time.Duration) (unix.WaitStatus, bool) {
	var status unix.WaitStatus
	for {
		got, err := unix.Wait4(pid, &status, unix.WNOHANG, nil)
		switch {
		case got == pid:
			return status, true
		case err != nil && !errors.Is(err, unix.EINTR):
			return status, false
		case uptime() > deadline:
			return status, false
		}
		sleep(time.Millisecond)
	}
}

// reap ends everything that a script left running, and waits for it. Children that
// wait to be asked are ended as well.
func (a *agent) reap() {
	defer a.dismissSpares()
	_ = unix.Kill(-1, unix.SIGKILL) // ESRCH: nobody is left
	for range 1000 {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.ECHILD):
			return
		case pid == 0:
			sleep(time.Millisecond)
		}
	}
}
