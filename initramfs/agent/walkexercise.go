package main

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/kmemgate/kmemgate/initramfs/wire"
)

// walkExercise repeats load, script and unload with the script's n-th slab
// allocation failing. The modules are loaded anew for each: what a driver
// allocates at its first use can fail only then. fail-nth is of one thread, and
// a script is many processes: here the kernel's own counter does it, for all
// tasks that descend from the shell (make-it-fail is inherited).
func (a *agent) walkExercise() error {
	counter := intervalCounter{dir: faultAttrs[0]}
	for n := a.job.Walk.From; n <= a.job.Walk.To; n++ {
		mark("walk step %d begins", n)
		step, err := a.exerciseStep(&counter, n)
		mark("walk step %d ends", n)
		a.log.drain()
		if err != nil || !step.Injected || step.Stays {
			return err
		}
	}
	return nil
}

// exerciseStep tells of its step before the unload, which may fail because of it.
func (a *agent) exerciseStep(counter *intervalCounter, n int) (wire.WalkStep, error) {
	if err := a.loadEach(a.job.Modules, n); err != nil {
		return wire.WalkStep{}, err
	}
	step, err := a.exerciseFailing(counter, n)
	if err == nil {
		err = a.out.Send(step)
	}
	if err != nil || step.Stays {
		return step, err
	}
	return step, a.unloadFrom(a.job.Modules, n)
}

func (a *agent) exerciseFailing(counter *intervalCounter, n int) (wire.WalkStep, error) {
	step := wire.WalkStep{N: n, Begin: jiffies(), Filtered: a.filtered, Stays: a.job.KeepLoaded}
	if err := counter.arm(n); err != nil {
		return step, fail(wire.ReasonAgent, err)
	}
	pid, status, late, err := a.runScript(filepath.Join(jobDir, a.job.Exercise), n, true)
	a.reap()
	step.PID = pid
	step.Injected, step.End = counter.disarm(), jiffies()
	switch {
	case err != nil && !errors.Is(err, errNotStarted):
		return step, err
	case err != nil:
		step.Errno = errnoName(err) // the very start of the shell met the fault
	case late:
		step.Errno = "ETIME"
	case status.Signaled():
		step.Errno = unix.SignalName(status.Signal())
	case status.ExitStatus() != 0:
		step.Errno = fmt.Sprintf("exit %d", status.ExitStatus())
	}
	return step, nil
}

// setMakeItFail marks this thread; what it forks inherits the mark.
func setMakeItFail(v string) { _, _ = writeFile("/proc/thread-self/make-it-fail", v) }

// intervalCounter makes the n-th allocation fail through an attribute's
// interval. The kernel counts up for ever and fails where the count is a
// multiple of the interval (lib/fault-inject.c, should_fail_ex): with the count
// known to be c, the interval c+n is first met n allocations on. With an interval
// of 1 it fails the next one and does not count.
type intervalCounter struct {
	dir   string
	count int
}

func (c *intervalCounter) arm(n int) error {
	interval := c.count + n
	if c.count = interval; interval == 1 {
		c.count = 0
	}
	for _, s := range []struct{ name, value string }{
		{"task-filter", "Y"},
		{"interval", strconv.Itoa(interval)},
		{"times", "1"},
		{"probability", "100"},
	} {
		if _, err := writeFile(filepath.Join(c.dir, s.name), s.value); err != nil {
			return fmt.Errorf("fault injection: %s/%s: %w", c.dir, s.name, err)
		}
	}
	return nil
}

// disarm tells whether the fault was met: then no times are left.
func (c *intervalCounter) disarm() bool {
	_, _ = writeFile(filepath.Join(c.dir, "probability"), "0")
	b, err := readFile(filepath.Join(c.dir, "times"))
	return err == nil && string(bytes.TrimSpace(b)) == "0"
}
