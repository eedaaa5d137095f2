package main

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/kmemgate/kmemgate/initramfs/wire"
)

// betweenTurns of guest time lets what a module's exit has deferred run in its
// own turn, and keeps two modules that lie at one address in different jiffies.
const betweenTurns = 50 * time.Millisecond

// turns loads and unloads one module under test after the other. The mark at a
// turn's end tells what its module allocated, where the kernel can count that.
func (a *agent) turns() error {
	a.startCounting()
	defer stopCounting()
	var turn []wire.JobModule
	for _, m := range a.job.Modules {
		turn = append(turn, m)
		if !m.UnderTest {
			continue
		}
		mark("%s", wire.TurnMark(m.Name, true))
		before, err := a.turn(turn)
		if err != nil {
			return err
		}
		sleep(betweenTurns)
		if a.counter == nil {
			mark("%s", wire.TurnMark(m.Name, false))
		} else {
			after, _ := a.counter.count()
			mark("%s, %d objects tracked", wire.TurnMark(m.Name, false), after-before)
		}
		a.log.drain()
		turn = nil
	}
	return nil
}

// turn loads modules and unloads those that were not refused. It returns what
// was counted before the last of them, the one under test.
func (a *agent) turn(modules []wire.JobModule) (before int, err error) {
	loaded := 0
	for _, m := range modules {
		if m.UnderTest && a.counter != nil {
			before, _ = a.counter.count()
		}
		refused, err := a.tryLoad(m)
		if err != nil {
			return before, err
		}
		if refused {
			break
		}
		loaded++
	}
	for _, m := range slices.Backward(modules[:loaded]) {
		if _, err := a.spawn(verbUnload, request{Module: m, Cycle: 1}, wire.ReasonUnloadHang, a.forward); err != nil {
			return before, err
		}
	}
	return before, nil
}

// tryLoad loads a module. One that is refused has told so in its Load, and is
// no trouble here.
func (a *agent) tryLoad(m wire.JobModule) (refused bool, err error) {
	relay := func(kind wire.Kind, payload []byte) error {
		var t wire.Trouble
		if kind == wire.KindTrouble && json.Unmarshal(payload, &t) == nil && t.Reason == wire.ReasonLoadFailed {
			refused = true
			return nil
		}
		return a.forward(kind, payload)
	}
	err = a.loadBy(m, 1, relay)
	if refused && errors.Is(err, errSaid) {
		return true, nil
	}
	return false, err
}
