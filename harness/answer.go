package harness

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/kmemgate/kmemgate/initramfs/wire"
	"github.com/kmemgate/kmemgate/reports"
)

// answer gathers a guest's messages. The reader below it checks every bound,
// name and sum; what remains here is to put things in their place.
type answer struct {
	// word is signalled, without waiting, at each message.
	word chan struct{}
	// ready is closed when the guest waits for its job.
	ready chan struct{}
	// over is closed after Done, or when nothing more can be understood.
	over chan struct{}

	mu       sync.Mutex
	reader   *wire.Reader
	err      error // why it is over; nil after Done
	hello    wire.Hello
	phases   []wire.Phase
	when     []time.Time // of phases, by the host's clock
	loads    []reports.Load
	cycles   []reports.Cycle
	exercise []reports.Exercise
	scans    []reports.Scan
	tracked  *int
	walk     []reports.WalkStep
	trouble  *wire.Trouble
}

// readAnswer listens to a guest's port. A clone's conversation begins with
// what its template had already said.
func readAnswer(before []byte, port io.Reader) *answer {
	a := &answer{
		word:   make(chan struct{}, 1),
		ready:  make(chan struct{}),
		over:   make(chan struct{}),
		reader: wire.NewReader(io.MultiReader(bytes.NewReader(before), port)),
	}
	go a.listen()
	return a
}

func (a *answer) listen() {
	defer close(a.over)
	for {
		m, err := a.reader.Next()
		if err != nil {
			a.mu.Lock()
			defer a.mu.Unlock()
			if !errors.Is(err, io.EOF) {
				a.err = err
			}
			return
		}
		a.take(m)
		select {
		case a.word <- struct{}{}:
		default:
		}
	}
}

// take files one message.
func (a *answer) take(m wire.Message) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch m := m.(type) {
	case wire.Hello:
		a.hello = m
	case wire.Phase:
		a.phase(m)
	case wire.Load:
		a.load(m)
	case wire.Unload:
		a.unload(m)
	case wire.Exercise:
		a.exercise = append(a.exercise, reports.Exercise{Cycle: m.Cycle, Status: m.Status, Signal: m.Signal})
	case wire.Scan:
		a.scans = append(a.scans, reports.Scan{N: m.N, Jiffies: m.Jiffies, Bytes: m.Bytes,
			Records: m.Records, Seconds: float64(m.TookNS) / 1e9})
	case wire.Tracked:
		a.tracked = &m.Objects
	case wire.WalkStep:
		a.walk = append(a.walk, reports.WalkStep{N: m.N, Injected: m.Injected, Errno: m.Errno,
			PID: m.PID, Begin: m.Begin, End: m.End, Filtered: m.Filtered, Stays: m.Stays})
	case wire.Trouble:
		if a.trouble == nil { // what follows the first trouble follows from it
			a.trouble = &m
		}
	}
}

func (a *answer) phase(m wire.Phase) {
	a.phases, a.when = append(a.phases, m), append(a.when, time.Now())
	if m.Name != wire.PhaseReady {
		return
	}
	select {
	case <-a.ready:
	default:
		close(a.ready)
	}
}

// load adds a load, or completes it: the agent tells of a load when it begins
// and may tell again, with End, when the module is gone.
func (a *answer) load(m wire.Load) {
	l := reports.Load{Module: m.Module, UnderTest: m.UnderTest, Canary: m.Canary, Cycle: m.Cycle, PID: m.PID,
		Errno: m.Errno, Begin: m.Begin, Inited: m.Inited, End: m.End, Size: m.Size, Sections: m.Sections, Bound: m.Bound}
	for i := range a.loads {
		if same := &a.loads[i]; same.Module == l.Module && same.Begin == l.Begin && same.PID == l.PID && same.End == 0 {
			*same = l
			return
		}
	}
	a.loads = append(a.loads, l)
}

// unload closes the load that it ends.
func (a *answer) unload(m wire.Unload) {
	for i := len(a.loads) - 1; i >= 0 && m.Errno == ""; i-- {
		if l := &a.loads[i]; l.Module == m.Module && l.Errno == "" {
			if l.End == 0 {
				l.End = m.Jiffies
			}
			for _, d := range m.Bound { // a probe may end after the load does
				if !slices.Contains(l.Bound, d) {
					l.Bound = append(l.Bound, d)
				}
			}
			break
		}
	}
	if m.Counted {
		a.cycles = append(a.cycles, reports.Cycle{N: m.Cycle, Orphans: m.Orphans, Bytes: m.Bytes})
	}
}

// fill puts everything into a capture. The answer must be over, or its port
// closed: streams that were cut are kept as evidence too.
func (a *answer) fill(c *reports.Capture) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c.HZ, c.CPUs = a.hello.HZ, a.hello.CPUs
	c.Loads, c.Cycles, c.Exercises, c.Scans, c.Tracked = a.loads, a.cycles, a.exercise, a.scans, a.tracked
	if len(a.walk) > 0 {
		c.Walk = &reports.WalkData{Steps: a.walk}
	}
	c.Before = a.reader.Partial(wire.StreamBefore)
	c.Passed = a.reader.Partial(wire.StreamPassed)
	c.Stacks = a.reader.Partial(wire.StreamStacks)
	c.Previous = a.reader.Partial(wire.StreamPrevious)
	c.Last = a.reader.Partial(wire.StreamLast)
	c.Dmesg = a.reader.Partial(wire.StreamDmesg)
	c.Output = a.reader.Partial(wire.StreamExercise)
	c.Canary = a.canary()
	if c.Timings == nil {
		c.Timings = map[string]float64{}
	}
	for i := range a.phases {
		if i+1 < len(a.phases) {
			c.Timings[a.phases[i].Name] += a.when[i+1].Sub(a.when[i]).Seconds()
		}
	}
}
