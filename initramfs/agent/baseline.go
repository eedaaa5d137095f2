package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kmemgate/kmemgate/initramfs/wire"
)

// The waits, in guest time: free under icount.
const (
	// minAge is how old an object must be before it is reported: 5 s
	// (mm/kmemleak.c, MSECS_MIN_AGE), and a bit.
	minAge = 6 * time.Second
	// settleTime lets what is deferred finish: RCU, work queues, delayed
	// frees, lazy TLB flushes of vmalloc.
	settleTime = 10 * time.Second
	// maxScans without agreement are no verdict, …
	maxScans = 8
	// … and no fewer than minScans are one: the first sees every checksum change,
	// the second reports, the third can agree.
	minScans = 3
)

const (
	canaryName = "kmemleak_test"
	canaryFile = "/lib/kmemgate/kmemleak-test.ko"
	noScanName = "kmemgate_noscan"
	noScanFile = "/lib/kmemgate/kmemgate_noscan.ko"
)

// keepThread is a kernel argument, which the kernel hands to PID 1 as a variable:
// a thread that the kernel started at boot goes on, and whoever asked for that
// ends it before the scans that decide. Only its first run waits for 60 s
// (kmemleak_scan_thread in mm/kmemleak.c), so that a thread which was ended never
// shows the wait.
const keepThread = "KMEMGATE_KEEP_SCAN_THREAD"

// proveDetector writes scan=off before anything else: automatic scans are
// ended, and a detector that is off says so here, or at stack=off.
func (a *agent) proveDetector() error {
	if os.Getenv(keepThread) == "" {
		if err := a.leaks.prove(); err != nil {
			return err
		}
	}
	if err := narrowScans(); err != nil {
		return err
	}
	logSections()
	// Task stacks hold stale addresses and hide leaks; nothing that lives only
	// on a stack outlives a module's unload. What the boot keeps there is in
	// before.txt. A job that wants it otherwise says so.
	return a.leaks.command("stack=off")
}

// narrowScans takes out of all scans what can hold no reference to an object: up to
// half of the words that each would read. What lies there would hide leaks by chance.
func narrowScans() error {
	f, err := os.Open(noScanFile)
	if err == nil {
		defer f.Close()
		err = unix.FinitModule(int(f.Fd()), "", 0)
	}
	if err == nil {
		err = remove(noScanName)
	}
	if err != nil {
		return fail(wire.ReasonAgent, fmt.Errorf("%s: %w", noScanFile, err))
	}
	return nil
}

// logSections makes the kernel log the section addresses of every module that
// it loads. Needs CONFIG_DYNAMIC_DEBUG; without it a refused load has none.
func logSections() {
	for _, control := range []string{"/proc/dynamic_debug/control", debugfs + "/dynamic_debug/control"} {
		if _, err := writeFile(control, "func move_module +p"); err == nil {
			return
		}
	}
}

// baseline scans until two reads agree, and keeps the last as what the boot
// itself left.
func (a *agent) baseline() error {
	takeFreePages()
	sleep(minAge)
	err := a.scans(func() bool { return true })
	a.before = a.leaks.last
	a.leaks.previous, a.leaks.last, a.leaks.passed = nil, nil, passedRecords{}
	return err
}

// plantCanary leaks on purpose. No scan follows before the job is done, so
// that the canary proves the very scans that decide.
func (a *agent) plantCanary() error {
	a.log.drain()
	said := a.log.buf.Len()
	onFreshThread(a.slabs.occupySlabs)
	pid, err := a.spawn(verbCanary, request{Module: wire.JobModule{Name: canaryName, File: canaryFile}},
		wire.ReasonCanaryLoad, a.forward)
	a.leaks.canary.pid = pid
	a.log.each(func(line []byte) {
		if bytes.Contains(line, []byte("kmemleak: ")) && bytes.Contains(line, []byte(") = ")) {
			a.leaks.canary.printed++
		}
		a.log.keep(line)
	})
	if err == nil && a.leaks.canary.printed == 0 {
		err = fail(wire.ReasonCanaryLoad, fmt.Errorf("kmemleak-test printed no addresses: is the kernel's log level or CONFIG_PRINTK in the way?"))
	}
	if err != nil {
		return err
	}
	if err := a.prepare(); err != nil {
		return err
	}
	// Before the job is there: what the module under test does to the kernel's log
	// is then held against this.
	return a.out.Stream(wire.StreamCanary, a.log.text()[said:])
}

// prepare does for all clones of a template what each would do for itself: a clone's
// QEMU translates all of its code anew.
func (a *agent) prepare() error {
	rehearse()
	if err := a.keepSpares(); err != nil {
		return err
	}
	var err error
	if a.region, err = openRegion(); err != nil {
		return fail(wire.ReasonBadJob, err)
	}
	onFreshThread(func() {
		a.slabs.occupySlabs()      // what the canary has freed
		a.slabs.fillSlabs(allFree) // and what that has opened
	})
	return nil
}

// settle waits for what the work left under way.
func (a *agent) settle() error {
	a.dismissSpares()
	renewThread()
	sleep(settleTime)
	return nil
}

// threadFile changes a workqueue's attributes, for which the kernel makes a
// thread (Documentation/core-api/workqueue.rst).
const threadFile = "/sys/devices/virtual/workqueue/writeback/nice"

// renewThread has the kernel make a thread. kthreadd sleeps with the address of
// its last request, a freed object of 64 bytes, in a register, which arm64 saves
// in the task: what a driver's new thread allocated first lay just there, and its
// leak was never reported (found in guest memory, 6.12). Best effort, as
// occupySlabs.
func renewThread() {
	for _, nice := range []string{"1", "0"} {
		_, _ = writeFile(threadFile, nice)
	}
}

// scanUntilSettled makes the scans that decide.
//
// A module that is judged while it is loaded has the task stacks scanned, and on
// 6.1 for arm64 they hide one of the canary's orphans in every read (measured).
// Where nobody asked for the stacks they are then left out, and the last read with
// them is sent as well, which tells the host: the read that decides holds the
// canary, and what that other read lacks, because a stack may be all that holds it,
// counts as transient.
func (a *agent) scanUntilSettled() error {
	err := a.scans(a.canaryWhole)
	if !hidden(err) || a.job.Stack != "" || a.stack() != "on" {
		return err
	}
	withStacks := a.leaks.last
	if err := a.leaks.command("stack=off"); err != nil {
		return err
	}
	if err := a.scans(a.canaryWhole); err != nil {
		return err
	}
	return a.out.Stream(wire.StreamStacks, withStacks)
}

// hidden tells whether scans ended for want of the canary.
func hidden(err error) bool {
	var t *trouble
	return errors.As(err, &t) && (t.reason == wire.ReasonCanaryGone || t.reason == wire.ReasonUnsettled)
}

func (a *agent) canaryWhole() bool { return a.leaks.canary.whole(a.leaks.last) }

// extraScans is how many scans more a kernel gets whose min_unref_scans could
// not be lowered to 1.
func extraScans(unref int) int { return max(unref-1, 0) }

// scans scans until two reads agree and enough says yes.
func (a *agent) scans(enough func() bool) error {
	extra := extraScans(a.leaks.unref)
	for n := 1; n <= maxScans+extra; n++ {
		if n > 1 {
			sleep(minAge)
		}
		scrubStacks()
		s, err := a.leaks.scan()
		if err != nil {
			return err
		}
		if err := a.out.Send(s); err != nil {
			return err
		}
		if n >= minScans+extra && agree(a.leaks.previous, a.leaks.last) && enough() {
			return nil
		}
	}
	reason := wire.ReasonUnsettled
	if agree(a.leaks.previous, a.leaks.last) {
		reason = wire.ReasonCanaryGone
	}
	return fail(reason, fmt.Errorf("%d scans, and the last two reads hold %d and %d records, %d of the canary's %d",
		maxScans+extra, len(records(a.leaks.previous)), len(records(a.leaks.last)), a.leaks.canary.found(a.leaks.last), a.leaks.canary.printed))
}
