package harness

import (
	"context"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/kmemgate/kmemgate/initramfs"
	"github.com/kmemgate/kmemgate/initramfs/wire"
	"github.com/kmemgate/kmemgate/reports"
)

// settle judges the turns of a group. It returns when each of them has its
// result: from the group's guest, or from guests of its parts.
func (k *sweptKernel) settle(ctx context.Context, turns []turn) error {
	if len(turns) == 0 {
		return nil
	}
	begin := time.Now()
	g, err := k.run(ctx, turns)
	if err != nil {
		return err
	}
	if len(turns) == 1 {
		run, err := k.judgeAlone(g)
		if err != nil {
			return err
		}
		return k.keep(turns, []reports.Run{run})
	}
	r, err := k.read(g)
	if err != nil {
		return err
	}
	k.Gate.status("%s %s: %d modules in one guest: %s, %.1f s", k.cell.kernel.Release, k.cell.arch, len(turns), r.words(g), time.Since(begin).Seconds())
	if r.whole == nil {
		return k.keep(turns, r.runs)
	}
	// Before the parts have results of their own: a sweep that is killed among
	// them must not take those for the whole truth.
	whole := sweptGroup{*r.whole, k.keys(turns)}
	if err := k.state.postpone(whole); err != nil {
		return err
	}
	if err := k.split(ctx, turns, r.suspect); err != nil {
		return err
	}
	return k.account(turns, whole)
}

// split judges the suspect alone and the others without it; where nobody is
// suspected, or the suspect was innocent, one half and then the other.
func (k *sweptKernel) split(ctx context.Context, turns []turn, suspect int) error {
	if suspect >= 0 {
		alone := turns[suspect : suspect+1]
		turns = slices.Delete(slices.Clone(turns), suspect, suspect+1)
		if err := k.settle(ctx, alone); err != nil {
			return err
		}
		if run, _ := k.state.get(k.key(alone[0])); run.Run.Verdict != reports.Clean {
			return k.settle(ctx, turns)
		}
	}
	half := len(turns) / 2
	if err := k.settle(ctx, turns[:half]); err != nil {
		return err
	}
	return k.settle(ctx, turns[half:])
}

// account sees to it that what showed in a group is not lost: what none of its
// parts shows without the others is a run of the group's own.
func (k *sweptKernel) account(turns []turn, g sweptGroup) error {
	var parts []reports.Run
	for _, t := range turns {
		done, _ := k.state.get(k.key(t))
		parts = append(parts, done.Run)
	}
	for _, part := range k.state.groups(k.keySet(turns)) {
		parts = append(parts, part.Run)
	}
	rest := unexplained(g.Run, parts)
	if rest != nil {
		rest.Warnings = append(slices.Clone(rest.Warnings), "it shows only with these modules in one guest, loaded one after the other: "+strings.Join(turnNames(turns), " "))
	}
	return k.state.settle(g, rest)
}

// accountLeftovers accounts for the groups that were being split when a sweep
// was killed. Their parts are judged by now, in groups of another cut.
func (k *sweptKernel) accountLeftovers(turns []turn) error {
	for _, g := range k.state.pending(k.keySet(turns)) {
		mine := slices.DeleteFunc(slices.Clone(turns), func(t turn) bool { return !slices.Contains(g.Turns, k.key(t)) })
		if err := k.account(mine, g); err != nil {
			return err
		}
	}
	return nil
}

// unexplained is what a group shows and none of its parts does; nil: nothing.
func unexplained(whole reports.Run, parts []reports.Run) *reports.Run {
	seen := map[string]bool{}
	for _, part := range parts {
		if whole.Verdict == reports.None && part.Verdict == reports.None && sameEnd(whole.Reason, part.Reason) {
			return nil
		}
		for _, l := range part.Leaks {
			seen[l.Signature] = true
		}
	}
	whole.Leaks = slices.DeleteFunc(slices.Clone(whole.Leaks), func(l reports.Leak) bool { return seen[l.Signature] })
	if whole.Verdict == reports.Leaks && len(whole.Leaks) == 0 {
		return nil
	}
	return &whole
}

// lost are the reasons of guests that did not live to the end: which of them is
// told of one and the same module depends on who noticed first.
var lost = []string{
	reports.ReasonPanic, reports.ReasonOops, reports.ReasonHang, reports.ReasonQEMU, reports.ReasonAgentDied,
	wire.ReasonLoadHang, wire.ReasonUnloadHang,
}

// sameEnd tells whether a part's reason explains that of its group.
func sameEnd(whole, part string) bool {
	return whole == part || slices.Contains(lost, whole) && slices.Contains(lost, part)
}

// keep writes results down.
func (k *sweptKernel) keep(turns []turn, runs []reports.Run) error {
	done := map[string]sweptModule{}
	for i, run := range runs {
		done[k.key(turns[i])] = sweptModule{Run: run}
		if run.Verdict == reports.Leaks || run.Verdict == reports.None {
			k.Gate.status("%s %s %s: %s %s", run.Kernel, run.Arch, run.Scenario, run.Verdict, runWords(run))
		}
	}
	if err := k.state.put(done); err != nil {
		return err
	}
	k.judged(len(turns))
	return nil
}

// judged tells how far the sweep is.
func (k *sweptKernel) judged(more int) {
	k.Gate.progress(k.work(), int(k.done.Add(int64(more))), k.modules)
}

// work is what a bar says of the sweep.
func (k *sweptKernel) work() string {
	return fmt.Sprintf("%s %s: modules judged", k.cell.kernel.Release, k.cell.arch)
}

// runWords is a run's outcome in a line.
func runWords(r reports.Run) string {
	for _, l := range r.Leaks {
		if l.Status == reports.New {
			return strings.TrimSpace(l.Title + " " + place(l))
		}
	}
	detail, _, _ := strings.Cut(r.Detail, "\n")
	return strings.TrimSpace(r.Reason + " " + detail)
}

// groupRun is a group with what its guest left behind.
type groupRun struct {
	turns   []turn
	name    string
	dir     string
	capture *reports.Capture
	built   []*reports.Built // what each turn tests
	seconds float64
}

// run starts a guest for a group and keeps its evidence.
func (k *sweptKernel) run(ctx context.Context, turns []turn) (*groupRun, error) {
	begin := time.Now()
	job, err := k.job(turns).region()
	if err != nil {
		return nil, err
	}
	g := &groupRun{turns: turns, name: groupName(turns)}
	g.dir = k.folder(g.name)
	if err := emptyFolder(g.dir); err != nil {
		return nil, err
	}
	if g.capture, err = k.start(ctx, job, RunOptions{Timeout: k.Scenario.Timeout, OutDir: g.dir, Console: k.Gate.console(k.cell.kernel.Release, k.cell.arch, g.name)}); err != nil {
		return nil, err
	}
	if ctx.Err() != nil { // what an interrupt left behind is no result
		return nil, ctx.Err()
	}
	c := g.capture
	c.Scenario, c.SourceDir, c.Control, c.Dir = g.name, turns[0].source, k.control.Last, g.dir
	c.Started = begin.UTC().Format(time.RFC3339)
	for _, t := range turns {
		c.Modules = append(c.Modules, cachedModules(t)...)
		built, err := k.turnCell(t).built(ctx)
		if err != nil {
			return nil, err
		}
		g.built = append(g.built, built)
	}
	if c.Before == nil && c.Reason == "" {
		c.Before = []byte{} // read, and nothing was there: not the same as not read
	}
	if c.RunDir, err = filepath.Rel(k.Gate.Out, g.dir); err != nil {
		return nil, fmt.Errorf("run folder: %w", err)
	}
	g.seconds = time.Since(begin).Seconds()
	return g, reports.WriteCapture(g.dir, c)
}

// groupName is the same for the same modules: a retry replaces its evidence.
func groupName(turns []turn) string {
	if len(turns) == 1 {
		return turns[0].name()
	}
	sum := sha256.Sum256([]byte(strings.Join(turnNames(turns), " ")))
	return fmt.Sprintf("group-%x", sum[:4])
}

func turnNames(turns []turn) []string {
	names := make([]string, len(turns))
	for i, t := range turns {
		names[i] = t.name()
	}
	return names
}

// job is a group's job: turn after turn, each module's file once.
func (k *sweptKernel) job(turns []turn) sweepJob {
	j := sweepJob{Job: wire.Job{Turns: true, Stack: k.Scenario.Stack, TimeoutNS: k.Scenario.Timeout.Nanoseconds()}, files: map[string]string{}}
	for _, t := range turns {
		for _, m := range t.modules() {
			file := "modules/" + m.Name + ".ko"
			j.files[file] = m.Stripped
			j.Modules = append(j.Modules, wire.JobModule{Name: m.Name, File: file, UnderTest: m.Name == t.name()})
		}
	}
	return j
}

// sweepJob is a job and where its files are.
type sweepJob struct {
	wire.Job
	files map[string]string
}

func (j sweepJob) region() ([]byte, error) {
	var files []initramfs.File
	seen := map[string]bool{}
	for _, m := range j.Modules { // in their order, so that guests repeat
		if seen[m.File] {
			continue
		}
		seen[m.File] = true
		f, err := readFileFor(m.Name, j.files[m.File])
		if err != nil {
			return nil, err
		}
		f.Name = m.File
		files = append(files, f)
	}
	return initramfs.JobRegion(j.Job, files)
}
