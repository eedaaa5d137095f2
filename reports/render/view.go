package render

import (
	"cmp"
	"slices"
	"strings"

	"github.com/kmemgate/kmemgate/reports"
)

// view is a report as the formats see it: cleaned, with the leaks of all runs
// in the order of interest.
type view struct {
	opt    Options
	raw    reports.Report // as it was given, for json
	report reports.Report // cleaned
	leaks  []group
	tally  tally
}

// group is one leak of one scenario, in all the runs that show it: a reader
// does not want it once per kernel. The run that lost most stands for all.
type group struct {
	reports.Leak
	scenario string
	runs     []*reports.Run
	fails    bool // the gate, in one of the runs at least
}

// tally counts what a headline says; a group counts once.
type tally struct {
	leaks    map[reports.Status]int
	runs     map[reports.Verdict]int
	findings int // of walks, leaks apart: those are leaks already
	warnings int
}

func newView(r reports.Report, opt Options) *view {
	v := &view{opt: opt, raw: r, report: cleanReport(r)}
	v.leaks = groupLeaks(v.report.Runs)
	v.tally = count(v.report, v.leaks)
	return v
}

// statuses in the order of interest.
var statuses = []reports.Status{reports.New, reports.Known, reports.Suppressed, reports.Transient, reports.Noise}

func rank(s reports.Status) int {
	if i := slices.Index(statuses, s); i >= 0 {
		return i
	}
	return len(statuses)
}

func groupLeaks(runs []reports.Run) []group {
	type key struct {
		scenario, signature, title string
		status                     reports.Status
	}
	var groups []group
	seen := map[key]int{}
	for i := range runs {
		run := &runs[i]
		for _, leak := range run.Leaks {
			k := key{run.Scenario, leak.Signature, leak.Title, leak.Status}
			at, ok := seen[k]
			if !ok {
				at, seen[k] = len(groups), len(groups)
				groups = append(groups, group{Leak: leak, scenario: run.Scenario})
			}
			groups[at].add(run, leak)
		}
	}
	slices.SortStableFunc(groups, func(a, b group) int {
		return cmp.Or(first(a.fails, b.fails), cmp.Compare(rank(a.Status), rank(b.Status)), cmp.Compare(b.Bytes, a.Bytes))
	})
	return groups
}

// first puts what is before what is not.
func first(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

func (g *group) add(run *reports.Run, leak reports.Leak) {
	g.fails = g.fails || failing(run, leak)
	if leak.Bytes > g.Bytes {
		g.Leak = leak
	}
	if !slices.Contains(g.runs, run) {
		g.runs = append(g.runs, run)
	}
}

func count(r reports.Report, leaks []group) tally {
	t := tally{leaks: map[reports.Status]int{}, runs: map[reports.Verdict]int{}, warnings: len(r.Warnings)}
	for _, g := range leaks {
		t.leaks[g.Status]++
	}
	for _, run := range r.Runs {
		t.runs[run.Verdict]++
		t.warnings += len(run.Warnings)
		t.findings += len(troubles(run.Walk))
	}
	return t
}

// troubles are the findings of a walk that no leak tells of.
func troubles(walk *reports.WalkResult) []reports.Finding {
	if walk == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(walk.Findings), func(f reports.Finding) bool { return f.Kind == "leak" })
}

// where names the runs of a group: "6.12.117 x86_64, 6.1.140 arm64".
func (g group) where(most int) string {
	var names []string
	for i, run := range g.runs {
		if i == most {
			names = append(names, "and "+plural(len(g.runs)-most, "more run"))
			break
		}
		names = append(names, join(" ", run.Kernel, run.Arch))
	}
	return strings.Join(names, ", ")
}

// reproduce are the lines that show a group again, at most most of them.
func (g group) reproduce(most int) (lines []string) {
	for _, run := range g.runs {
		if run.Reproduce != "" && !slices.Contains(lines, run.Reproduce) && len(lines) < most {
			lines = append(lines, run.Reproduce)
		}
	}
	return lines
}

// name of a run: "6.12.117 x86_64 leaky".
func runName(run reports.Run) string {
	return join(" ", run.Kernel, run.Arch, run.Scenario)
}

// stack is a backtrace cut in three at its frames in modules: what a reader
// looks for stands in the middle.
type stack struct {
	allocator []reports.Frame // the innermost, the kernel's
	module    []reports.Frame // from the first to the last frame in a module
	callers   []reports.Frame // the outermost, the kernel's
}

func splitStack(frames []reports.Frame) stack {
	first := slices.IndexFunc(frames, func(f reports.Frame) bool { return f.Module != "" })
	if first < 0 {
		return stack{callers: frames}
	}
	last := first
	for i, f := range frames {
		if f.Module != "" {
			last = i
		}
	}
	return stack{frames[:first], frames[first : last+1], frames[last+1:]}
}
