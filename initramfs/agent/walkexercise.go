package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/kmemgate/kmemgate/initramfs/wire"
)

// walkExercise repeats the script with its n-th slab allocation failing, while
// the modules stay loaded. fail-nth is of one thread, and a script is many
// processes: here the kernel's own counter does it, for all tasks that descend
// from the shell (make-it-fail is inherited).
func (a *agent) walkExercise() error {
	for _, m := range a.job.Modules {
		if err := a.load(m, 1); err != nil {
			return err
		}
	}
	counter := intervalCounter{dir: faultAttrs[0]}
	for n := a.job.Walk.From; n <= a.job.Walk.To; n++ {
		mark("walk step %d begins", n)
		step, err := a.exerciseFailing(&counter, n)
		mark("walk step %d ends", n)
		a.log.drain()
		if err == nil {
			err = a.out.Send(step)
		}
		if err != nil {
			return err
		}
		if !step.Injected {
			break
		}
	}
	return a.unloadFrom(a.job.Modules)
}

func (a *agent) exerciseFailing(counter *intervalCounter, n int) (wire.WalkStep, error) {
	step := wire.WalkStep{N: n, Begin: jiffies()}
	if err := counter.arm(n); err != nil {
		return step, fail(wire.ReasonAgent, err)
	}
	pid, status, late, err := a.runScript(filepath.Join(jobDir, a.job.Exercise), n, true)
	reap()
	step.PID = pid
	step.Injected, step.End = counter.disarm(), jiffies()
	switch {
	case err != nil && !errors.Is(err, errNotStarted):
		return step, err
	case err != nil:
		step.Errno = errnoName(err) // the very start of the shell met the fault
	case late:
		step.Errno = "ETIME"
	case status != 0:
		step.Errno = fmt.Sprintf("exit %d", status.ExitStatus())
	}
	return step, nil
}

// setMakeItFail marks this thread; what it forks inherits the mark.
func setMakeItFail(v string) { _, _ = writeFile("/proc/thread-self/make-it-fail", v) }

// intervalCounter makes the n-th allocation fail through an attribute's
// interval. The kernel counts up for ever and fails where the count is a
// multiple of the interval (lib/fault-inject.c, should_fail_ex): with the count
// known to be c, the interval c+n is first met n allocations on.
type intervalCounter struct {
	dir   string
	count int
}

func (c *intervalCounter) arm(n int) error {
	c.count += n
	for _, s := range []struct{ name, value string }{
		{"task-filter", "Y"},
		{"interval", strconv.Itoa(c.count)},
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
	b, err := os.ReadFile(filepath.Join(c.dir, "times"))
	return err == nil && string(bytes.TrimSpace(b)) == "0"
}
