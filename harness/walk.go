package harness

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/kmemgate/kmemgate/initramfs"
	"github.com/kmemgate/kmemgate/initramfs/wire"
	"github.com/kmemgate/kmemgate/kernels"
	"github.com/kmemgate/kmemgate/reports"
	"github.com/kmemgate/kmemgate/scenarios"
)

const (
	// walkPiece is how many allocations one clone walks: enough to make its
	// start and its scans (as long as some fifty steps) worth while, few enough
	// that all cores have work.
	walkPiece = 64
	// walkBound ends a walk whose module allocates without end; one of ten
	// shipping drivers did (measured).
	walkBound = 1000
)

// walk repeats a load, or the script, with its first, second, third …
// allocation failing, cut into pieces that clones walk side by side. A step that
// its guest does not survive is a finding, and the walk goes on behind it in a
// new guest.
type walk struct {
	gate  *Gate
	cell  cell
	start startFunc
	job   guestJob // of the whole of it; each guest gets its From and To
	dir   string   // evidence of the pieces, each in a folder FROM-TO
	// budget is the guest time, in seconds, in which the walk must end if its pieces
	// follow each other; 0: as long as it takes. Wall time would end it elsewhere
	// on each machine.
	budget float64
	data   reports.WalkData

	// What tests play; nil means the methods guest and judge.
	walker func(ctx context.Context, from, to int) (*reports.Capture, error)
	judger func(*reports.Capture) reports.Run

	mu    sync.Mutex
	next  int  // the first step that nobody has taken yet
	end   int  // the first step that meets no fault; walkBound+1 until it is known
	steps int  // that are made, for the bar
	lost  bool // a piece came to no verdict: no need to walk on
	runs  []reports.Run

	spent float64 // of the budget
}

// startFunc starts a guest with a job and gathers its answer.
type startFunc func(context.Context, []byte, RunOptions) (*reports.Capture, error)

// walkErrorPaths walks what the scenario asks for and returns the judged pieces.
func (g *Gate) walkErrorPaths(ctx context.Context, c cell, dir string) ([]reports.Run, error) {
	m, err := g.machine(ctx, c)
	if err != nil {
		return nil, err
	}
	start, err := g.starter(ctx, m)
	if err != nil {
		return nil, err
	}
	walks, err := c.walks()
	if err != nil {
		return nil, err
	}
	var runs []reports.Run
	for _, w := range walks {
		w.gate, w.start, w.dir = g, start, filepath.Join(dir, "walk", w.dir)
		pieces, err := w.all(ctx)
		if runs = append(runs, pieces...); err != nil {
			return runs, err
		}
	}
	return runs, nil
}

// checkWalks tells of wrong usage before anything is built.
func checkWalks(s *scenarios.Scenario) error {
	want, err := s.ErrorPaths.Parse()
	switch {
	case err != nil:
		return Usagef("error paths: %w", err)
	case want.Exercise && s.Exercise == "":
		return Usagef("error paths: exercise is to be walked, and %s has none (say exercise: in kmemgate.yml)", s.Name)
	}
	return nil
}

// walks are the walks that the scenario asks for: the load of each module under
// test, and the script.
func (c cell) walks() ([]*walk, error) {
	want, err := c.scenario.ErrorPaths.Parse()
	if err != nil {
		return nil, UsageError{err}
	}
	whole, _, err := c.jobs()
	if err != nil {
		return nil, err
	}
	whole.Walk = &wire.Walk{All: want.All}
	// Where kmemleak makes its records (mm/kmemleak.c), and where the slab allocator
	// asks for pages (mm/slub.c); there either may be part of the other.
	whole.Walk.DetectorStart, whole.Walk.DetectorEnd = code(c.kernel, "__alloc_object", "mem_pool_alloc", "create_object", "__create_object", "__link_object")
	whole.Walk.SlabStart, whole.Walk.SlabEnd = code(c.kernel, "allocate_slab", "new_slab")
	whole.Cycles = 0
	var list []*walk
	add := func(job guestJob, module, dir string) {
		w := &walk{cell: c, job: job, dir: dir, next: 1, end: walkBound + 1}
		w.data = reports.WalkData{Module: module, All: want.All, Only: want.Only > 0}
		if want.Only > 0 {
			w.next, w.end = want.Only, want.Only+1
		}
		list = append(list, w)
	}
	for i, m := range whole.Modules {
		if want.Load && m.UnderTest {
			job := whole
			job.Exercise, job.Modules = "", whole.Modules[:i+1]
			add(job, m.Name, m.Name)
		}
	}
	if want.Exercise {
		job := whole
		walk := *whole.Walk
		job.Walk, walk.Exercise = &walk, true
		add(job, "", "exercise")
	}
	return list, nil
}

// code is where these functions of one file lie, in a kernel that lies where it
// was linked to (nokaslr); zero where its map does not say.
func code(k *kernels.Kernel, names ...string) (start, end uint64) {
	start, end, err := kernels.TextRange(k, names...)
	if err != nil {
		return 0, 0
	}
	return start, end
}

// all walks every piece: the first alone, for most walks end in it, and what is
// behind it side by side.
func (w *walk) all(ctx context.Context) ([]reports.Run, error) {
	_, err := w.one(ctx)
	if err == nil {
		group, ctx := errgroup.WithContext(ctx)
		for range w.gate.jobs() {
			group.Go(func() error { return w.work(ctx) })
		}
		err = group.Wait()
	}
	w.told(true)
	return w.runs, err
}

// title is what a bar says of the walk.
func (w *walk) title() string {
	return fmt.Sprintf("%s %s %s: failing allocations of %s", w.cell.kernel.Release, w.cell.arch, w.cell.scenario.Name, filepath.Base(w.dir))
}

// told tells how far the walk is. Where it ends is known late.
func (w *walk) told(over bool) {
	switch {
	case w.gate.Progress == nil:
	case over:
		w.gate.progress(w.title(), w.steps, w.steps)
	case w.end > walkBound:
		w.gate.progress(w.title(), w.steps, 0)
	default:
		w.gate.progress(w.title(), min(w.steps, w.end-1), w.end)
	}
}

// work walks piece after piece until there is none left.
func (w *walk) work(ctx context.Context) error {
	for {
		if more, err := w.one(ctx); err != nil || !more {
			return err
		}
	}
}

// one walks the next piece, if there is one left.
func (w *walk) one(ctx context.Context) (bool, error) {
	from, to, ok := w.take()
	if !ok {
		return false, nil
	}
	return true, w.piece(ctx, from, to)
}

func (w *walk) take() (from, to int, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lost || w.next >= w.end {
		return 0, 0, false
	}
	from = w.next
	to = min(from+walkPiece-1, walkBound)
	if w.data.Only {
		to = from
	}
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
	walk := w.guest
	if w.walker != nil {
		walk = w.walker
	}
	capture, err := walk(ctx, from, to)
	if err != nil {
		return err
	}
	last, ok := lastStep(capture)
	switch {
	case ok && last.Died != "":
		capture.Walk.From, capture.Walk.To, capture.Walk.Steps = last.N, last.N, []reports.WalkStep{last}
		w.keep(capture)
		if err := w.piece(ctx, from, last.N-1); err != nil {
			return err
		}
		return w.piece(ctx, last.N+1, to)
	case ok && last.Stays && last.Injected:
		w.keep(capture)
		return w.piece(ctx, last.N+1, to)
	}
	w.keep(capture)
	return nil
}

// lastStep is the last step of a guest, if there is any.
func lastStep(c *reports.Capture) (reports.WalkStep, bool) {
	if len(c.Walk.Steps) == 0 {
		return reports.WalkStep{}, false
	}
	return c.Walk.Steps[len(c.Walk.Steps)-1], true
}

// guest walks steps in one guest, as far as it gets.
func (w *walk) guest(ctx context.Context, from, to int) (*reports.Capture, error) {
	job := w.job.Job
	steps := *job.Walk
	job.Walk, steps.From, steps.To = &steps, from, to
	region, err := initramfs.JobRegion(job, w.job.files)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(w.dir, fmt.Sprintf("%d-%d", from, to))
	w.gate.status("%s, %d to %d", w.title(), from, to)
	shown := w.gate.console(append(w.cell.name(), filepath.Base(w.dir), filepath.Base(dir))...)
	capture, err := w.start(ctx, region, RunOptions{Timeout: w.cell.scenario.Timeout, OutDir: dir, Console: shown})
	if err != nil {
		return nil, err
	}
	data := w.data
	data.From, data.To = from, to
	splitSteps(capture, data)
	if err := w.cell.keepInputs(dir, guestJob{}); err != nil {
		return nil, err
	}
	return capture, w.gate.describe(ctx, w.cell, capture, dir)
}

// keep judges a guest's steps, and learns from them where the walk ends: only a
// step that was made, and met no fault, can tell.
func (w *walk) keep(c *reports.Capture) {
	judge := w.judge
	if w.judger != nil {
		judge = w.judger
	}
	run := judge(c)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.runs = append(w.runs, run)
	last, ok := lastStep(c)
	switch {
	case run.Verdict == reports.None:
		w.lost = true
	case ok && !last.Injected:
		w.end = min(w.end, last.N)
	}
	if w.spent += stepSeconds(c); w.budget > 0 && w.spent+w.spent/float64(len(w.runs)) > w.budget {
		w.end = min(w.end, w.next) // another piece like these would take too long
	}
	w.steps += len(c.Walk.Steps)
	w.told(false)
}

func (w *walk) judge(c *reports.Capture) reports.Run {
	return reports.Judge(c, w.gate.policy(w.cell.scenario, w.cell.known, c.Kernel, c.Dir))
}
