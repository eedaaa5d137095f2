package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/kmemgate/kmemgate/initramfs"
	"github.com/kmemgate/kmemgate/kernels"
	"github.com/kmemgate/kmemgate/reports"
	"github.com/kmemgate/kmemgate/scenarios"
)

const (
	// sweepGroup is how many modules share a clone and its scans. The clone and
	// its scans take about as long as the turns of a dozen modules; more than
	// this many make a group's retry dear.
	sweepGroup = 32
	// sweepBytes bounds the modules of a group: the guest keeps them in its memory.
	sweepBytes = 16 << 20
)

// Sweep loads and unloads the modules of a kernel build and judges each. Many
// share one guest, where they are loaded one after the other, and one set of
// scans: a group in which nothing leaks is done. What leaks is charged to the
// module in whose turn it was allocated and whose code is on its stack; where
// these do not agree, and where a guest is lost, the group is split.
type Sweep struct {
	Gate *Gate
	// Scenario says how the guests are: kernels, architectures, clock, memory,
	// timeout, error_paths. What it says of modules and exercise is not used.
	Scenario *scenarios.Scenario
	// Choice is which modules; its zero value takes all.
	Choice Choice
	// Extra are directories of drivers whose modules are swept as well; one with
	// the name of a module of the kernel takes its place.
	Extra []string
	// Group is how many modules share a clone at most; 0 means 32.
	Group int
	// Resume is a file that keeps what is judged, so that a sweep that was
	// stopped goes on where it was; empty means sweep.json in Gate.Out.
	Resume string
}

// Run sweeps every kernel and architecture of the scenario and writes the
// report: one run a module. A sweep that was stopped, even killed, goes on from
// its file of results when it is started again.
func (s *Sweep) Run(ctx context.Context) (*reports.Report, error) {
	if err := os.MkdirAll(s.Gate.Out, 0o755); err != nil {
		return nil, hostError("", "output folder: %w", err)
	}
	lock, err := lockDir(s.Gate.Out)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, Usagef("sweep: another sweep is at work in %s: wait for it, or name another folder with --out", s.Gate.Out)
	}
	if err != nil {
		return nil, hostError("", "sweep: %w", err)
	}
	defer lock.Close()
	state, err := openSweepState(s.resume())
	if err != nil {
		return nil, err
	}
	var runs []reports.Run
	for _, source := range s.Scenario.Kernels {
		for _, arch := range s.Scenario.Arches {
			more, err := s.kernel(ctx, state, source, arch)
			if err != nil {
				return nil, err
			}
			runs = append(runs, more...)
		}
	}
	report := reports.NewReport(runs)
	if err := s.Gate.writeReport(report); err != nil {
		return nil, err
	}
	return &report, state.remove() // the report has it all
}

func (s *Sweep) resume() string {
	if s.Resume != "" {
		return s.Resume
	}
	return filepath.Join(s.Gate.Out, "sweep.json")
}

// kernel sweeps one kernel for one architecture.
func (s *Sweep) kernel(ctx context.Context, state *sweepState, source, arch string) ([]reports.Run, error) {
	c := cell{scenario: s.Scenario, source: source, arch: arch}
	config, err := s.Gate.config(s.Scenario)
	if err != nil {
		return nil, err
	}
	if c.kernel, err = s.Gate.Builder.Kernel(ctx, kernels.Spec{Source: source, Arch: arch, Config: config, LLVM: s.Gate.LLVM}); err != nil {
		if err := c.fail(ctx, reports.ReasonKernel, err); err != nil {
			return nil, err
		}
		return []reports.Run{reports.Judge(c.failure.capture(c), s.Gate.policy(s.Scenario, s.Gate.Baseline, "", ""))}, nil
	}
	plan, err := s.plan(ctx, c)
	if err != nil {
		return nil, err
	}
	k := &sweptKernel{Sweep: s, cell: c, state: state}
	if k.conditions, err = s.conditions(c); err != nil {
		return nil, err
	}
	if todo := k.todo(plan.turns); len(todo) > 0 {
		if err := k.sweep(ctx, todo); err != nil {
			return nil, err
		}
	}
	if err := k.accountLeftovers(plan.turns); err != nil {
		return nil, err
	}
	if s.Scenario.ErrorPaths.Wanted() {
		if err := k.walkAll(ctx, plan.turns); err != nil {
			return nil, err
		}
	}
	return append(k.results(plan.turns), plan.skipped...), nil
}

// sweptKernel is one kernel on its way.
type sweptKernel struct {
	*Sweep
	cell       cell
	conditions string // all that results depend on besides their modules
	state      *sweepState
	start      startFunc
	control    *reports.Capture // of a guest in which nothing is loaded
	modules    int              // how many there are
	done       atomic.Int64     // and how many are judged
}

// todo are the turns that nobody judged yet.
func (k *sweptKernel) todo(turns []turn) []turn {
	var left []turn
	for _, t := range turns {
		if _, ok := k.state.get(k.key(t)); !ok {
			left = append(left, t)
		}
	}
	done := len(turns) - len(left)
	k.modules = len(turns)
	k.done.Store(int64(done))
	if done > 0 {
		k.Gate.status("%s %s: %d of %d modules were judged before, going on", k.cell.kernel.Release, k.cell.arch, done, len(turns))
	}
	return left
}

// sweep judges the turns, group after group, as many at once as there are jobs.
func (k *sweptKernel) sweep(ctx context.Context, todo []turn) error {
	if err := k.boot(ctx); err != nil {
		return err
	}
	groups, err := grouped(todo, k.groupSize(len(todo)))
	if err != nil {
		return err
	}
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(k.Gate.jobs())
	for _, g := range groups {
		work.Go(func() error { return k.settle(ctx, g) })
	}
	defer k.Gate.progress(k.work(), k.modules, k.modules)
	return work.Wait()
}

// groupSize spreads the modules evenly over the jobs.
func (k *sweptKernel) groupSize(modules int) int {
	limit := k.Group
	if limit <= 0 {
		limit = sweepGroup
	}
	jobs := k.Gate.jobs()
	rounds := (modules + jobs*limit - 1) / (jobs * limit)
	return max(1, (modules+jobs*rounds-1)/(jobs*rounds))
}

// boot makes the template ready, and the control: one for all groups, since
// with nothing loaded their steps are the same.
func (k *sweptKernel) boot(ctx context.Context) error {
	m, err := k.Gate.machine(ctx, k.cell)
	if err != nil {
		return err
	}
	start, startControl, err := k.Gate.starters(ctx, m)
	if err != nil {
		return err
	}
	k.start = start
	region, err := initramfs.JobRegion(k.job(nil).Job, nil)
	if err != nil {
		return err
	}
	dir := k.folder("control")
	if k.control, err = startControl(ctx, region, RunOptions{Timeout: k.Scenario.Timeout, OutDir: dir}); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if k.control.Reason != "" {
		return fmt.Errorf("sweep: %s %s gives no verdict even with no module loaded: %s: %s (evidence: %s)",
			k.cell.kernel.Release, k.cell.arch, k.control.Reason, k.control.Detail, dir)
	}
	return nil
}

// folder is where the evidence of a module, or of a group, lies.
func (k *sweptKernel) folder(name string) string {
	s := *k.Scenario
	s.Name = name
	c := k.cell
	c.scenario = &s
	return k.Gate.folder(c)
}

// results are the runs of all turns, in their order, and of groups in which
// showed what none of their modules shows alone.
func (k *sweptKernel) results(turns []turn) []reports.Run {
	var runs []reports.Run
	for _, t := range turns {
		if done, ok := k.state.get(k.key(t)); ok {
			runs = append(runs, done.Run)
		}
	}
	for _, g := range k.state.groups(k.keySet(turns)) {
		runs = append(runs, g.Run)
	}
	return runs
}
