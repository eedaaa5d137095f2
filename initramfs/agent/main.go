// Command agent is PID 1 of a kmemgate guest. It proves that kmemleak lives,
// plants a canary, waits for a job, works it, scans until the reads settle and
// sends raw text to the host. It judges nothing.
//
// It never has a kernel address in a register or a variable if it can help it:
// kmemleak scans the stacks of tasks, saved user registers included, and an
// address found there hides the very leak that the run is about. What has to
// handle addresses is a short-lived child (this program again, with a verb).
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kmemgate/kmemgate/initramfs/wire"
)

func init() {
	// The main goroutine stays on the main thread: a child's thread id is then
	// the pid that kmemleak records.
	runtime.LockOSThread()
	// No collector between scans: runs repeat to the byte under icount. The
	// agent collects by hand where it drops a big read.
	debug.SetGCPercent(-1)
}

func main() {
	if os.Getpid() != 1 {
		if len(os.Args) > 1 && os.Args[1] == rehearses {
			rehearse()
		}
		os.Exit(child())
	}
	coalesceTimers()
	occupyStacks()
	go func() {
		sleep(50 * time.Millisecond) // until the main thread is gone
		occupyStacks()
		(&agent{}).run()
	}()
	leaveMainThread()
}

// timerSlack is how late a timer of the guest's processes may be: a tick.
const timerSlack = 4 * time.Millisecond

// coalesceTimers lets all processes wait for the next tick where they ask for less.
// Go's runtime wakes a thread every 20 µs while another is in a system call, say a
// scan: half of all interrupts of a run. A thread has its slack of the one that made
// it, and the runtime's are made before main, so that this program is started anew.
// Best effort.
func coalesceTimers() {
	slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil || slack >= int(timerSlack) {
		return
	}
	if unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(timerSlack), 0, 0, 0) == nil {
		_ = unix.Exec("/init", os.Args, os.Environ())
	}
}

// agent is the state of PID 1.
type agent struct {
	out     *wire.Writer
	leaks   detector
	log     *kernelLog
	job     wire.Job
	limit   time.Duration // guest time for one load, unload or script
	hz      int
	output  []byte         // of the script
	spares  []childProcess // that wait to be asked
	slabs   slabHolders    // that lie on what others have freed
	region  region         // where the job will lie
	counter *counter       // of allocations; nil where the kernel cannot

	filtered bool // a walk's faults are those of allocations under a module's code

	before []byte
}

// trouble is an error with the word that the host puts into its report.
type trouble struct {
	reason string
	err    error
}

func (t *trouble) Error() string { return t.reason + ": " + t.err.Error() }
func (t *trouble) Unwrap() error { return t.err }

func fail(reason string, err error) error {
	var t *trouble
	if err == nil || errors.As(err, &t) {
		return err // the first to know the reason is right
	}
	return &trouble{reason, err}
}

// errSaid is the error of a step whose Trouble was sent by a child.
var errSaid = errors.New("the child has said why")

// run does the whole of a guest's life and makes sure that its last words get
// out: what it learned, why it stopped, the kernel's log, done.
func (a *agent) run() {
	var err error
	onFreshThread(func() { err = a.setUp() })
	if a.out == nil {
		// No port: the console is all there is, and the host's timeout.
		fmt.Fprintln(os.Stderr, "kmemgate agent:", err)
		return
	}
	if err == nil {
		err = a.live()
	}
	if err := a.lastWords(err); err != nil {
		fmt.Fprintln(os.Stderr, "kmemgate agent:", err)
	}
	// PID 1 must not end: the host ends QEMU.
}

// guarded turns the agent's own panic into a reason: PID 1 that dies is a
// kernel panic, which would be charged to the module.
func (a *agent) guarded(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fail(wire.ReasonAgent, fmt.Errorf("panic: %v\n%s", r, debug.Stack()))
		}
	}()
	return f()
}

// step is a part of a run, told as a phase.
type step struct {
	phase string
	do    func() error
}

// steps are 1 to 7 of a run. The last shows that the detector still lives after
// the read that decides.
func (a *agent) steps() []step {
	return []step{
		{wire.PhaseBoot, a.proveDetector},
		{wire.PhaseBaseline, a.baseline},
		{wire.PhaseCanary, a.plantCanary},
		{wire.PhaseReady, a.awaitJob},
		{wire.PhaseWork, a.work},
		{wire.PhaseSettle, a.settle},
		{wire.PhaseScan, a.scanUntilSettled},
		{wire.PhaseSend, a.leaks.prove},
	}
}

// live takes the steps of a run, each on a thread of its own: what a step's
// system calls left on the kernel stack is gone when the scans come.
func (a *agent) live() error {
	for _, s := range a.steps() {
		if a.job.Shell && s.phase == wire.PhaseSettle {
			return nil
		}
		var err error
		onFreshThread(func() {
			if err = a.phase(s.phase); err == nil {
				err = a.guarded(s.do)
				a.log.drain()
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *agent) phase(name string) error {
	return a.out.Send(wire.Phase{Name: name, UptimeNS: int64(uptime()), Jiffies: jiffies()})
}

// lastWords sends the reason, if any, then all texts there are, then Done.
func (a *agent) lastWords(err error) error {
	var t *trouble
	switch {
	case err == nil || errors.Is(err, errSaid):
	case errors.As(err, &t):
		err = a.out.Send(wire.Trouble{Reason: t.reason, Detail: clip(t.err.Error(), 4<<10)})
	default:
		err = a.out.Send(wire.Trouble{Reason: wire.ReasonAgent, Detail: clip(err.Error(), 4<<10)})
	}
	if err != nil && !errors.Is(err, errSaid) {
		return err
	}
	a.log.drain()
	texts := []struct {
		name string
		text []byte
	}{
		{wire.StreamBefore, a.before},
		{wire.StreamPassed, a.leaks.passed.text()},
		{wire.StreamPrevious, a.leaks.previous},
		{wire.StreamLast, a.leaks.last},
		{wire.StreamDmesg, a.log.text()},
		{wire.StreamExercise, a.output},
	}
	for _, s := range texts {
		if err := a.out.Stream(s.name, s.text); err != nil {
			return err
		}
	}
	return a.out.Done()
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}
