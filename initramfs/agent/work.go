package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/kmemgate/kmemgate/initramfs/wire"
)

// work does what the job asks for.
func (a *agent) work() error {
	if err := a.leaks.command("stack=" + a.stack()); err != nil {
		return err
	}
	if a.job.Walk == nil && !a.job.Shell && !a.job.Turns {
		a.startCounting()
	}
	a.slabs.fillSlabs(waitFree) // what the wait for the job has freed
	switch {
	case a.job.Shell:
		return a.shell()
	case a.job.Walk != nil:
		return a.walk()
	case a.job.Turns:
		return a.turns()
	}
	for n := 1; n <= a.cycles(); n++ {
		if err := a.cycle(n); err != nil {
			return err
		}
	}
	return a.sendCount()
}

// stack tells whether task stacks are scanned: off, unless the job says
// otherwise or judges a loaded module, whose threads may hold what they work on
// nowhere else.
func (a *agent) stack() string {
	switch {
	case a.job.Stack != "":
		return a.job.Stack
	case a.job.KeepLoaded:
		return "on"
	}
	return "off"
}

func (a *agent) cycles() int { return max(a.job.Cycles, 1) }

// cycle loads, exercises, unloads, and counts what that left.
func (a *agent) cycle(n int) error {
	mark("cycle %d of %d", n, a.cycles())
	for _, m := range a.job.Modules {
		load := a.load
		if !m.UnderTest {
			load = a.loadUncounted
		}
		if err := load(m, n); err != nil {
			return err
		}
	}
	if err := a.exercise(n); err != nil {
		return err
	}
	var unloads []wire.Unload
	if !a.job.KeepLoaded || n < a.cycles() {
		var err error
		if unloads, err = a.unloadAll(n); err != nil {
			return err
		}
	}
	if a.cycles() > 1 {
		orphans, bytes, err := a.countOrphans()
		if err != nil {
			return err
		}
		if last := len(unloads) - 1; last >= 0 {
			unloads[last].Counted, unloads[last].Orphans, unloads[last].Bytes = true, orphans, bytes
		}
	}
	a.log.drain()
	return a.sendAll(unloads)
}

func (a *agent) load(m wire.JobModule, cycle int) error { return a.loadBy(m, cycle, a.forward) }

// loadBy loads a module and hands what its child says to relay.
func (a *agent) loadBy(m wire.JobModule, cycle int, relay func(wire.Kind, []byte) error) error {
	m.File = filepath.Join(jobDir, m.File)
	_, err := a.spawn(verbLoad, request{Module: m, Cycle: cycle}, wire.ReasonLoadHang, relay)
	a.log.drain()
	return err
}

// unloadAll unloads in reverse. The messages are returned, to be sent once the
// cycle's orphans are counted; of a failure they are sent at once.
func (a *agent) unloadAll(cycle int) ([]wire.Unload, error) {
	var list []wire.Unload
	keep := func(kind wire.Kind, payload []byte) error {
		if kind != wire.KindUnload {
			return errors.Join(a.sendAll(list), a.forward(kind, payload))
		}
		var u wire.Unload
		if err := json.Unmarshal(payload, &u); err != nil {
			return fmt.Errorf("a child's answer: %w", err)
		}
		list = append(list, u)
		return nil
	}
	for _, m := range slices.Backward(a.job.Modules) {
		if _, err := a.spawn(verbUnload, request{Module: m, Cycle: cycle}, wire.ReasonUnloadHang, keep); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (a *agent) sendAll(list []wire.Unload) error {
	for _, u := range list {
		if err := a.out.Send(u); err != nil {
			return err
		}
	}
	return nil
}

// countOrphans counts what kmemleak reports that was not there before the job
// and is not the canary's. The first scan sees every checksum change, the next
// reports.
func (a *agent) countOrphans() (n int, bytes int64, err error) {
	known := map[string]bool{}
	for _, r := range records(a.before) {
		known[r.head] = true
	}
	for range 1 + max(a.leaks.unref, 1) {
		sleep(minAge)
		scrubStacks()
		s, err := a.leaks.scan()
		if err != nil {
			return 0, 0, err
		}
		if err := a.out.Send(s); err != nil {
			return 0, 0, err
		}
	}
	for _, r := range records(a.leaks.last) {
		if !known[r.head] && r.pid != a.leaks.canary.pid {
			n++
			bytes += r.size
		}
	}
	return n, bytes, nil
}
