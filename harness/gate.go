package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kmemgate/kmemgate/kconfig"
	"github.com/kmemgate/kmemgate/kernels"
	"github.com/kmemgate/kmemgate/reports"
	"github.com/kmemgate/kmemgate/scenarios"
)

// Gate is the whole pipeline: it builds what a scenario needs, runs it in
// guests and judges what they left behind. Its zero value gates with the
// user's cache and writes the evidence below the current directory.
type Gate struct {
	Builder *kernels.Builder
	Host    *Host

	// Out is the folder of report.json and the evidence.
	Out string
	// Config is a fragment of kernel options on top of the scenario's.
	Config *kconfig.Fragment
	// LLVM builds with clang.
	LLVM bool
	// Flags are those of the command line that the line which repeats a run
	// needs besides the driver, the kernel and the architecture.
	Flags []string
	// Keep leaves each guest paused after its verdict.
	Keep bool
	// Console, where set, makes what shows a guest's console while it runs, by
	// the guest's name: several run side by side.
	Console func(guest string) io.Writer
	// Baseline is the leaks that are known.
	Baseline *reports.Baseline
	// Now is the day by which suppressions expire; zero means today.
	Now time.Time
	// Status is told, in a line each, what is being done.
	Status func(format string, args ...any)
	// Progress is told how far long work is; total is 0 until it is known.
	Progress func(what string, done, total int)

	userspaces userspaceCache
}

// Run gates the scenario on every kernel and architecture it names, and
// writes the report. What goes wrong with one of them (its QEMU is missing) is a
// run without a verdict in the report, and the others keep theirs; the error is
// for what concerns all of them: wrong usage, a full disk, an interrupt.
func (g *Gate) Run(ctx context.Context, s *scenarios.Scenario) (*reports.Report, error) {
	if err := os.MkdirAll(g.Out, 0o755); err != nil {
		return nil, fmt.Errorf("output folder: %w", err)
	}
	cells, err := g.build(ctx, s)
	if err != nil {
		return nil, err
	}
	runs := make([]reports.Run, len(cells))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(g.jobs())
	for i, c := range cells {
		group.Go(func() error {
			run, err := g.judge(groupCtx, c)
			runs[i] = run
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	report := reports.NewReport(runs)
	return &report, g.writeReport(report)
}

// One gates the scenario on one kernel and architecture, by the baseline that
// lies beside it where the gate has none, and writes no report.json: what go
// test's subtests want.
func (g *Gate) One(ctx context.Context, s *scenarios.Scenario, source, arch string) (reports.Run, error) {
	c, err := g.buildCell(ctx, s, source, arch)
	if err != nil {
		return reports.Run{}, err
	}
	if c.known == nil {
		if c.known, err = ReadBaseline(BaselinePath(s), false); err != nil {
			return reports.Run{}, err
		}
	}
	return g.judge(ctx, c)
}

// Built returns the kernel on which the scenario is gated if it is in the
// cache, and an error with the command that builds it if not. It builds
// nothing; what a driver turns out to lack is not known before it is built.
func (g *Gate) Built(ctx context.Context, s *scenarios.Scenario, source, arch string) (*kernels.Kernel, error) {
	spec, err := g.spec(ctx, s, source, arch)
	if err != nil {
		return nil, err
	}
	return g.Builder.Path(ctx, spec)
}

// Kernel is Built for a kernel that may have to be built first.
func (g *Gate) Kernel(ctx context.Context, s *scenarios.Scenario, source, arch string) (*kernels.Kernel, error) {
	spec, err := g.spec(ctx, s, source, arch)
	if err != nil {
		return nil, err
	}
	return g.Builder.Kernel(ctx, spec)
}

func (g *Gate) spec(ctx context.Context, s *scenarios.Scenario, source, arch string) (kernels.Spec, error) {
	spec := kernels.Spec{Source: source, Arch: arch, LLVM: g.LLVM}
	config, err := g.config(s)
	if err != nil {
		return spec, err
	}
	a, err := g.Host.attach(ctx, arch, s.Devices)
	var host *HostError
	if err != nil && !errors.As(err, &host) { // without QEMU it is the run that has no verdict
		return spec, err
	}
	spec.Config, err = withOptions(config, a.options)
	return spec, err
}

// withOptions adds what the devices need to what was asked for, which wins.
func withOptions(config []kconfig.Fragment, options []string) ([]kconfig.Fragment, error) {
	wanted := slices.DeleteFunc(slices.Clone(options), func(line string) bool {
		name, _, _ := strings.Cut(line, "=")
		return slices.ContainsFunc(config, func(f kconfig.Fragment) bool { _, said := f.Get(name); return said })
	})
	if len(wanted) == 0 {
		return config, nil
	}
	const name = "devices"
	frag, err := kconfig.FromLines(wanted, name, slices.Repeat([]int{1}, len(wanted)))
	return append(config, frag), err
}

// Close lets go of what the gate holds in the cache.
func (g *Gate) Close() {
	g.Host.Close()
	g.Builder.Close()
}

// jobs is how many things are worth doing side by side: the host has no place for
// the guests of more.
func (g *Gate) jobs() int { return g.Host.jobs() }

func (g *Gate) status(format string, args ...any) {
	if g.Status != nil {
		g.Status(format, args...)
	}
}

func (g *Gate) progress(what string, done, total int) {
	if g.Progress != nil {
		g.Progress(what, done, total)
	}
}

// console is what shows a guest's console, nil where nobody wants to see it.
func (g *Gate) console(guest ...string) io.Writer {
	if g.Console == nil {
		return nil
	}
	return g.Console(strings.Join(guest, " "))
}

// cell is one kernel and architecture of a scenario, built and ready to run,
// or the reason why it could not be built.
type cell struct {
	scenario *scenarios.Scenario
	source   string // as --kernel named it
	arch     string
	kernel   *kernels.Kernel
	modules  []kernels.Module // in the order of loading
	tested   map[string]bool  // names of the modules under test
	known    *reports.Baseline
	failure  *failure
	// command repeats the run where kmemgate run does not.
	command string
}

// failure is a run that ended before there was a guest.
type failure struct {
	verdict reports.Verdict
	reason  string
	detail  string
}

// build builds the cells one after another: each build uses every core.
func (g *Gate) build(ctx context.Context, s *scenarios.Scenario) ([]cell, error) {
	var cells []cell
	for _, source := range s.Kernels {
		for _, arch := range s.Arches {
			c, err := g.buildCell(ctx, s, source, arch)
			if err != nil {
				return nil, err
			}
			cells = append(cells, c)
		}
	}
	return cells, nil
}

func (g *Gate) buildCell(ctx context.Context, s *scenarios.Scenario, source, arch string) (cell, error) {
	c := cell{scenario: s, source: source, arch: arch, known: g.Baseline}
	spec, err := g.spec(ctx, s, source, arch)
	if err != nil {
		return c, err
	}
	if err := checkWalks(s); err != nil {
		return c, err
	}
	for _, dir := range s.Build { // before a kernel is built in vain
		if err := kernels.CheckDriver(ctx, filepath.Join(s.Dir, dir), source, arch); err != nil {
			return c, c.fail(ctx, reports.ReasonBuild, err)
		}
	}
	if c.kernel, err = g.Builder.Kernel(ctx, spec); err != nil {
		return c, c.fail(ctx, reports.ReasonKernel, err)
	}
	if err = g.buildModules(ctx, &c); err != nil {
		return c, c.fail(ctx, reports.ReasonBuild, err)
	}
	return c, nil
}

// fail keeps a build's error as the cell's outcome, but for the errors that
// concern every cell.
func (c *cell) fail(ctx context.Context, reason string, err error) error {
	var skip *kernels.Skip
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case kernels.IsUsage(err):
		return UsageError{err}
	case errors.As(err, &skip):
		c.failure = &failure{verdict: reports.Skipped, detail: skip.Reason}
	default:
		c.failure = &failure{reports.None, reason, err.Error()}
	}
	return nil
}

// config is what the scenario and the command ask for on top of the base.
func (g *Gate) config(s *scenarios.Scenario) ([]kconfig.Fragment, error) {
	own, err := kconfig.FromLines(s.Kconfig, filepath.Join(s.Dir, scenarios.FileName), s.KconfigLines)
	if err != nil {
		return nil, UsageError{err}
	}
	frags := []kconfig.Fragment{own}
	if g.Config != nil {
		frags = append(frags, *g.Config)
	}
	if _, err := kconfig.Merge(frags...); err != nil {
		return nil, UsageError{err}
	}
	return frags, nil
}

// judge runs a cell and turns its capture into a judged run.
func (g *Gate) judge(ctx context.Context, c cell) (reports.Run, error) {
	start := time.Now()
	capture, dir, err := g.capture(ctx, c)
	if lack := lackOfCell(ctx, err); lack != nil {
		c.failure, c.modules = lack, nil // which nothing was kept of
		capture, dir, err = g.capture(ctx, c)
	}
	if err != nil {
		return reports.Run{}, err
	}
	run := reports.Judge(capture, g.policy(c.scenario, c.known, capture.Kernel, dir))
	// A driver that does not load and unload as it is has no error paths to walk.
	if run.Verdict != reports.None && run.Verdict != reports.Skipped && c.scenario.ErrorPaths.Wanted() {
		pieces, err := g.walkErrorPaths(ctx, c, dir)
		if lack := lackOfCell(ctx, err); lack != nil {
			pieces, err = append(pieces, reports.Run{Verdict: lack.verdict, Reason: lack.reason, Detail: lack.detail}), nil
		}
		if err != nil {
			return run, err
		}
		run = reports.MergeWalk(run, pieces, c.known)
	}
	g.status("%s %s %s: %s, %.1f s", run.Kernel, run.Arch, run.Scenario, run.Verdict, time.Since(start).Seconds())
	return run, nil
}

// policy is what a run on a kernel of this release is judged by. Suppressions that
// are for other kernels are no concern of it.
func (g *Gate) policy(s *scenarios.Scenario, known *reports.Baseline, release, dir string) reports.Policy {
	p := reports.Policy{
		FailOn:       s.FailOn,
		AllowWarn:    s.AllowWarn,
		RequireProbe: s.RequireProbe,
		Baseline:     known,
		Now:          g.Now,
		Dir:          dir,
	}
	if p.Now.IsZero() {
		p.Now = time.Now()
	}
	for _, s := range s.Suppress {
		if scenarios.MatchAny(s.Kernels, release) {
			p.Suppress = append(p.Suppress, reports.Suppression{
				Match: s.Match, Signature: s.Signature, Reason: s.Reason, URL: s.URL, Expires: s.Expires, Line: s.Line,
			})
		}
	}
	return p
}

// reproduce is the command line that repeats a run, where the driver lies below
// the current directory with its path as seen from there: a colleague's clone
// lies elsewhere.
func (g *Gate) reproduce(c cell) string {
	if c.command != "" {
		return c.command
	}
	args := []string{"kmemgate", "run", shellQuote(seenFromHere(c.scenario.Dir)), "--kernel", shellQuote(c.source), "--arch", c.arch}
	if c.scenario.Clock == ClockReal {
		args = append(args, "--clock", ClockReal)
	}
	for _, f := range g.Flags {
		args = append(args, shellQuote(f))
	}
	return strings.Join(args, " ")
}

// seenFromHere is a path as it is written in the current directory, where it
// lies below.
func seenFromHere(dir string) string {
	here, err := os.Getwd()
	if err != nil {
		return dir
	}
	if rel, err := filepath.Rel(here, dir); err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return dir
}

// shellQuote quotes what a shell would not take as one word.
func shellQuote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+:=,@%", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// folder is where the evidence of a cell lies: KERNEL/ARCH/SCENARIO.
func (g *Gate) folder(c cell) string {
	release := c.source
	if c.kernel != nil {
		release = c.kernel.Release
	}
	return filepath.Join(g.Out, safeName(release), c.arch, safeName(c.scenario.Name))
}

// safeName makes a file name of a kernel's release or a scenario's name,
// either of which may come from a stranger.
func safeName(s string) string {
	safe := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-+", r) {
			return r
		}
		return '_'
	}, s)
	if strings.Trim(safe, ".") == "" {
		return "_" + safe
	}
	return safe
}
