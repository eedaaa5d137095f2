package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/kmemgate/kmemgate/initramfs/wire"
)

// walk makes the n-th allocation fail, n after n. What the steps leak is told
// apart by the host, from the pid and the jiffies of each.
func (a *agent) walk() error {
	if err := setUpFaults(); err != nil {
		return fail(wire.ReasonAgent, err)
	}
	if w := a.job.Walk; !w.All {
		var err error
		if a.filtered, err = filterStacks(map[string]codeRange{
			failslab:      {w.DetectorStart, w.DetectorEnd},
			failPageAlloc: {w.SlabStart, w.SlabEnd},
		}); err != nil {
			return fail(wire.ReasonAgent, err)
		}
	}
	if a.job.Walk.Exercise {
		return a.walkExercise()
	}
	last := len(a.job.Modules) - 1
	if err := a.loadEach(a.job.Modules[:last], 1); err != nil {
		return err
	}
	if err := a.walkLoad(a.job.Modules[last]); err != nil || a.job.KeepLoaded {
		return err
	}
	return a.unloadFrom(a.job.Modules[:last], 1)
}

func (a *agent) loadEach(modules []wire.JobModule, cycle int) error {
	for _, m := range modules {
		if err := a.load(m, cycle); err != nil {
			return err
		}
	}
	return nil
}

// unloadFrom unloads, the last first.
func (a *agent) unloadFrom(modules []wire.JobModule, cycle int) error {
	for _, m := range slices.Backward(modules) {
		if _, err := a.spawn(verbUnload, request{Module: m, Cycle: cycle}, wire.ReasonUnloadHang, a.forward); err != nil {
			return err
		}
	}
	return nil
}

// walkLoad repeats the load of one module until no fault is met any more.
func (a *agent) walkLoad(m wire.JobModule) error {
	if err := a.loadOnce(m); err != nil {
		return err
	}
	m.File = filepath.Join(jobDir, m.File)
	watch := func(kind wire.Kind, payload []byte) error {
		if kind == wire.KindWalk {
			a.log.drain() // at each step: the kernel's ring holds some forty
		}
		return a.forward(kind, payload)
	}
	w := a.job.Walk
	_, err := a.spawn(verbWalk, request{Module: m, From: w.From, To: w.To, Filtered: a.filtered, Stays: a.job.KeepLoaded}, wire.ReasonLoadHang, watch)
	a.log.drain()
	return err
}

// loadOnce loads and unloads the module with all it asks for: the slabs that it
// allocates from are there then, in this guest as in the other clones, and the
// n of an allocation is the same in all of them.
func (a *agent) loadOnce(m wire.JobModule) error {
	if a.job.KeepLoaded {
		return nil
	}
	if err := a.load(m, 1); err != nil {
		return err
	}
	return a.unloadFrom([]wire.JobModule{m}, 1)
}

// walkSteps are loads with one allocation failing after the other, in the child,
// until one meets no fault. Each is made by a thread of its own: a record of
// kmemleak tells the thread that allocated. A child for each would do as well, and to
// start one takes longer than the step.
func (c *worker) walkSteps(r request) error {
	for n := r.From; n <= r.To; n++ {
		var over bool
		var err error
		c.log.skip()
		mark("walk step %d begins", n)
		returned := onMortalThread(func() { over, err = c.walkStep(r, n) })
		mark("walk step %d ends", n)
		switch {
		case !returned:
			return fmt.Errorf("walk step %d: the kernel ended the thread that loads %s", n, r.Module.Name)
		case err != nil || over:
			return err
		}
	}
	return nil
}

// walkStep is one load with its n-th allocation failing. Where the load succeeds all
// the same, the module is unloaded again. The walk is over where it stays, and where no
// fault was met.
func (c *worker) walkStep(r request, n int) (over bool, err error) {
	w, l := c.insertFailing(r, n)
	if l.Errno != "" {
		l.Sections, _ = c.refusal(r.Module, errors.New(l.Errno))
	} else if w.Errno == "" {
		l.Sections, l.Size, l.Bound = sections(r.Module.Name), coreSize(r.Module.Name), bound(r.Module.Name)
		w.Stays = r.Stays
		if err := c.removeAfter(r); err != nil {
			holders, refs := holders(r.Module.Name)
			u := wire.Unload{Module: r.Module.Name, Cycle: n, Errno: errnoName(err), Holders: holders, RefCnt: refs, Jiffies: jiffies()}
			return true, errors.Join(c.out.Send(l), c.out.Send(w), c.out.Send(u),
				fail(wire.ReasonUnloadFailed, fmt.Errorf("walk step %d: unload %s: %w: %s", n, u.Module, err, inUseBy(u))))
		}
	}
	w.End = jiffies()
	if !w.Stays {
		l.End = w.End
	}
	if err := c.out.Send(l); err != nil {
		return true, err
	}
	if err := c.out.Send(w); err != nil {
		return true, err
	}
	if !w.Injected && l.Errno != "" {
		return true, fail(wire.ReasonLoadFailed, fmt.Errorf("walk step %d: load %s without a fault: %s", n, r.Module.Name, l.Errno))
	}
	return !w.Injected || w.Stays, nil
}

// removeAfter unloads what a step has loaded, unless it shall stay.
func (c *worker) removeAfter(r request) error {
	if r.Stays {
		return nil
	}
	return remove(r.Module.Name)
}

// insertFailing arms fail-nth around finit_module. Between the two writes there
// is nothing but raw system calls: fail-nth counts every allocation of this
// thread, and the Go runtime must not make one.
func (c *worker) insertFailing(r request, n int) (wire.WalkStep, wire.Load) {
	m := r.Module
	w := wire.WalkStep{N: n, PID: unix.Gettid(), Begin: jiffies(), Filtered: r.Filtered}
	l := wire.Load{Module: m.Name, UnderTest: m.UnderTest, Cycle: n, PID: w.PID, Begin: w.Begin}
	file, err := unix.Open(m.File, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		defer unix.Close(file)
		var left int
		left, err = failNth(n, func() error { return unix.FinitModule(file, m.Params, 0) })
		w.Injected = left == 0
	}
	if err != nil {
		w.Errno = errnoName(err)
		l.Errno = w.Errno
	}
	return w, l
}

// failNth runs f with the n-th allocation of this thread failing, and returns
// what is left of n: 0 means that it did fail.
func failNth(n int, f func() error) (int, error) {
	fd, err := unix.Open("/proc/thread-self/fail-nth", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("fail-nth: %w", err)
	}
	defer unix.Close(fd)
	var left [16]byte
	if _, err := unix.Pwrite(fd, []byte(strconv.Itoa(n)), 0); err != nil {
		return -1, fmt.Errorf("fail-nth: %w", err)
	}
	ferr := f()
	got, err := unix.Pread(fd, left[:], 0)
	_, _ = unix.Pwrite(fd, []byte("0"), 0) // the thread ends anyway
	if err != nil {
		return -1, fmt.Errorf("fail-nth: %w", err)
	}
	rest, err := strconv.Atoi(string(left[:max(got-1, 0)])) // a line
	if err != nil {
		return -1, fmt.Errorf("fail-nth: %q", left[:got])
	}
	return rest, ferr
}
