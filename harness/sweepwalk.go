package harness

import (
	"context"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/kmemgate/kmemgate/reports"
	"github.com/kmemgate/kmemgate/scenarios"
)

// sweepWalk bounds the walk of one module, in seconds of guest time. Loads that
// are tests, test_rhashtable's of 20 s among them, would take hours.
const sweepWalk = 600

// walkAll walks the error paths of every module that loads, as many modules at
// once as there are jobs.
func (k *sweptKernel) walkAll(ctx context.Context, turns []turn) error {
	m, err := k.Gate.machine(ctx, k.cell)
	if err != nil {
		return err
	}
	start, err := k.Gate.starter(ctx, m)
	if err != nil {
		return err
	}
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(k.Gate.jobs())
	for _, t := range turns {
		done, ok := k.state.get(k.key(t))
		if !ok || done.Walked || done.Run.Verdict != reports.Clean && done.Run.Verdict != reports.Leaks {
			continue
		}
		work.Go(func() error {
			run, err := k.walkOne(ctx, start, t, done.Run)
			if err != nil {
				return err
			}
			return k.state.put(map[string]sweptModule{k.key(t): {Run: run, Walked: true}})
		})
	}
	return work.Wait()
}

// turnCell is a turn as a scenario of its own.
func (k *sweptKernel) turnCell(t turn) cell {
	s := *k.Scenario
	s.Name, s.Exercise, s.Files, s.Modules, s.Build = t.name(), "", nil, nil, nil
	if t.source != k.cell.kernel.Source {
		s.Build, s.Dir = scenarios.Directories{"."}, t.source // whose files the lines belong to
	}
	c := k.cell
	c.scenario, c.modules, c.tested, c.command = &s, t.modules(), map[string]bool{t.name(): true}, k.reproduce(t)
	return c
}

// walkOne walks one module's error paths, in one guest at a time.
func (k *sweptKernel) walkOne(ctx context.Context, start startFunc, t turn, run reports.Run) (reports.Run, error) {
	c := k.turnCell(t)
	walks, err := c.walks()
	if err != nil {
		return run, err
	}
	dir := filepath.Join(k.Gate.folder(c), "walk")
	var pieces []reports.Run
	for _, w := range walks {
		w.gate, w.start, w.dir, w.budget = k.Gate, start, dir, sweepWalk
		if err := w.work(ctx); err != nil {
			return run, err
		}
		pieces = append(pieces, w.runs...)
	}
	if ctx.Err() != nil {
		return run, ctx.Err()
	}
	run = reports.MergeWalk(run, pieces, k.Gate.Baseline)
	if run.Walk != nil && len(run.Walk.Findings) == 0 && run.Verdict != reports.None {
		if err := os.RemoveAll(dir); err != nil { // nothing that anybody would read
			return run, hostError("", "sweep: %w", err)
		}
	}
	return run, nil
}
