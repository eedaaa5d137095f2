package harness

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/kmemgate/kmemgate/initramfs"
	"github.com/kmemgate/kmemgate/initramfs/wire"
	"github.com/kmemgate/kmemgate/reports"
)

const (
	// walkPiece is how many allocations one clone walks: enough to make its
	// start and its scans (about a second) worth while, few enough that all
	// cores have work.
	walkPiece = 24
	// walkBound ends a walk whose module allocates without end; one of ten
	// shipping drivers did (measured).
	walkBound = 1000
)

// walk repeats the load of a driver with its first, second, third … allocation
// failing, cut into pieces that clones walk side by side. A step that its guest
// does not survive is a finding, and the walk goes on behind it in a new guest.
type walk struct {
	gate  *Gate
	cell  cell
	start startFunc
	dir   string // evidence of the pieces, each in a folder FROM-TO

	mu   sync.Mutex
	next int // the first step that nobody has taken yet
	end  int // the first step that meets no fault; walkBound+1 until it is known
	runs []walkedPiece
}

// walkedPiece is the judgement of the steps that one guest walked.
type walkedPiece struct {
	from int
	run  reports.Run
}

// startFunc starts a guest with a job and gathers its answer.
type startFunc func(context.Context, []byte, RunOptions) (*reports.Capture, error)

// walkErrorPaths walks the cell's load and returns the judged pieces.
func (g *Gate) walkErrorPaths(ctx context.Context, c cell, dir string) ([]reports.Run, error) {
	m, err := g.machine(ctx, c)
	if err != nil {
		return nil, err
	}
	start, err := g.starter(ctx, m)
	if err != nil {
		return nil, err
	}
	w := &walk{gate: g, cell: c, start: start, dir: filepath.Join(dir, "walk"), next: 1, end: walkBound + 1}
	group, ctx := errgroup.WithContext(ctx)
	for range g.jobs() {
		group.Go(func() error { return w.work(ctx) })
	}
	err = group.Wait()
	return w.judged(), err
}

// judged are the pieces that lie before the walk's end: another clone may have
// begun one behind it before the end was known.
func (w *walk) judged() []reports.Run {
	var runs []reports.Run
	for _, p := range w.runs {
		if p.from <= w.end {
			runs = append(runs, p.run)
		}
	}
	return runs
}

// work walks piece after piece until there is none left.
func (w *walk) work(ctx context.Context) error {
	for {
		from, to, ok := w.take()
		if !ok {
			return nil
		}
		if err := w.piece(ctx, from, to); err != nil {
			return err
		}
	}
}

func (w *walk) take() (from, to int, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.next >= w.end {
		return 0, 0, false
	}
	from = w.next
	to = min(from+walkPiece-1, walkBound)
	w.next = to + 1
	return from, to, true
}

// piece walks the steps from … to. A guest that dies does so before its scans:
// what the steps before that leaked is found by walking them again without the
// deadly one, and then the walk goes on behind it.
func (w *walk) piece(ctx context.Context, from, to int) error {
	if from > to {
		return nil
	}
	capture, err := w.guest(ctx, from, to)
	if err != nil {
		return err
	}
	deadly, died := lastStep(capture)
	if !died {
		w.keep(capture, from)
		return nil
	}
	capture.Walk.Steps = []reports.WalkStep{deadly}
	w.keep(capture, deadly.N)
	if err := w.piece(ctx, from, deadly.N-1); err != nil {
		return err
	}
	return w.piece(ctx, deadly.N+1, to)
}

// lastStep is the last step of a guest, and whether the guest died of it.
func lastStep(c *reports.Capture) (reports.WalkStep, bool) {
	if len(c.Walk.Steps) == 0 {
		return reports.WalkStep{}, false
	}
	s := c.Walk.Steps[len(c.Walk.Steps)-1]
	return s, s.Died != ""
}

// guest walks steps in one guest, as far as it gets.
func (w *walk) guest(ctx context.Context, from, to int) (*reports.Capture, error) {
	job, _, err := w.cell.jobs()
	if err != nil {
		return nil, err
	}
	job.Exercise, job.Cycles, job.KeepLoaded = "", 0, false
	job.Walk = &wire.Walk{From: from, To: to, All: w.cell.scenario.ErrorPaths == "all"}
	region, err := initramfs.JobRegion(job.Job, job.files)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(w.dir, fmt.Sprintf("%d-%d", from, to))
	w.gate.status("%s %s %s: failing allocations %d to %d", w.cell.kernel.Release, w.cell.arch, w.cell.scenario.Name, from, to)
	capture, err := w.start(ctx, region, RunOptions{Timeout: w.cell.scenario.Timeout, OutDir: dir, Console: w.gate.Console})
	if err != nil {
		return nil, err
	}
	splitSteps(capture)
	if err := w.cell.keepInputs(dir, guestJob{}); err != nil {
		return nil, err
	}
	return capture, w.gate.describe(ctx, w.cell, capture, dir)
}

// keep judges a guest's steps, and learns from them where the walk ends.
func (w *walk) keep(c *reports.Capture, from int) {
	run := reports.Judge(c, w.gate.policy(w.cell.scenario, w.cell.known, c.Dir))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.runs = append(w.runs, walkedPiece{from, run})
	s, died := lastStep(c)
	if !died && !s.Injected { // met no fault, or the guest never walked
		w.end = min(w.end, max(s.N, 1))
	}
}

// stepMark is what the agent writes into the kernel's log around each step.
var stepMark = regexp.MustCompile(`(?m)^.*kmemgate: walk step (\d+) (begins|ends)\r?$`)

// splitSteps gives each step its part of the kernel's log. The step that the
// guest did not survive is in the log only: its Walk message never came.
// Nothing after an oops counts, so what follows one is cut off.
func splitSteps(c *reports.Capture) {
	if c.Walk == nil {
		c.Walk = &reports.WalkData{}
	}
	log := c.Dmesg
	if len(log) == 0 {
		log = c.Console
	}
	known := map[int]reports.WalkStep{}
	for _, s := range c.Walk.Steps {
		known[s.N] = s
	}
	c.Walk.Steps = nil
	marks := stepMark.FindAllSubmatchIndex(log, -1)
	for i, m := range marks {
		if string(log[m[4]:m[5]]) != "begins" {
			continue
		}
		end := len(log)
		if i+1 < len(marks) {
			end = marks[i+1][0]
		}
		n, err := strconv.Atoi(string(log[m[2]:m[3]]))
		if err != nil {
			continue // more digits than any n has: not our agent's mark
		}
		step, said := known[n]
		step.N, step.Dmesg = n, string(bytes.TrimSpace(log[m[1]:end]))
		if died := diedOf(c, step, said, i+1 >= len(marks)); died != "" {
			step.Died, step.Injected = died, true
			c.Walk.Steps = append(c.Walk.Steps, step)
			c.Reason, c.Detail = "", "" // the step's finding says it
			return
		}
		if said {
			c.Walk.Steps = append(c.Walk.Steps, step)
		}
	}
}

// diedOf tells how a step brought its guest down, if it did.
func diedOf(c *reports.Capture, s reports.WalkStep, said, last bool) string {
	switch {
	case c.Reason == reports.ReasonPanic && last:
		return reports.ReasonPanic
	case reports.Oopsed([]byte(s.Dmesg)):
		return reports.ReasonOops
	case last && !said && (c.Reason == reports.ReasonHang || c.Reason == wire.ReasonLoadHang):
		return reports.ReasonHang
	}
	return ""
}
