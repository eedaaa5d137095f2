package render

import (
	"fmt"
	"html/template"
	"slices"
	"strings"

	"github.com/kmemgate/kmemgate/reports"
)

type pageColumn struct{ Kernel, Arch string }

type pageRow struct {
	Scenario string
	Cells    [][]pageCell // one list a column: merged reports may hold a run twice
}

type pageCell struct {
	N                  int
	Class, Word, Found string
}

// grid is scenario by kernel and architecture.
func (v *view) grid() ([]pageColumn, []pageRow) {
	var columns []pageColumn
	var rows []pageRow
	for _, run := range v.report.Runs {
		if c := (pageColumn{run.Kernel, run.Arch}); !slices.Contains(columns, c) {
			columns = append(columns, c)
		}
	}
	at := map[string]int{}
	for i, run := range v.report.Runs {
		r, ok := at[run.Scenario]
		if !ok {
			r, at[run.Scenario] = len(rows), len(rows)
			rows = append(rows, pageRow{run.Scenario, make([][]pageCell, len(columns))})
		}
		c := slices.Index(columns, pageColumn{run.Kernel, run.Arch})
		found := run.Reason
		if run.Verdict == reports.Clean || run.Verdict == reports.Leaks {
			found = runSummary(run)
		}
		rows[r].Cells[c] = append(rows[r].Cells[c], pageCell{i, class(string(run.Verdict)), verdictWord(run.Verdict), found})
	}
	return columns, rows
}

type pageRun struct {
	N                            int
	Class, Word, Name, Work, Why string
	Open                         bool
	Chart                        template.HTML
	CycleWords                   string
	Walk                         *pageWalk
	Facts                        []pageFact
	Reproduce                    string
}

type pageFact struct{ Name, Value string }

func (v *view) pageRun(i int) pageRun {
	run := v.report.Runs[i]
	p := pageRun{
		N: i, Class: class(string(run.Verdict)), Word: verdictWord(run.Verdict), Name: runName(run), Work: work(run), Reproduce: run.Reproduce,
		Open: run.Verdict == reports.None || len(run.Cycles) > 1 || run.Walk != nil && len(run.Walk.Findings) > 0,
	}
	if run.Verdict == reports.None || run.Verdict == reports.Skipped {
		p.Why = runSummary(run)
	}
	if len(run.Cycles) > 1 {
		p.Chart = cycleChart(run.Cycles)
		last := run.Cycles[len(run.Cycles)-1]
		p.CycleWords = fmt.Sprintf("%s orphans; %s after the last.", orphansByCycle(run.Cycles), size(last.Bytes))
	}
	if run.Walk != nil {
		p.Walk = v.pageWalk(i, run)
	}
	p.Facts = v.facts(run)
	return p
}

func (v *view) facts(run reports.Run) []pageFact {
	var facts []pageFact
	add := func(name, value string) {
		if value != "" {
			facts = append(facts, pageFact{name, value})
		}
	}
	add("started", run.Started)
	add("clock", join(": ", run.Clock, run.ClockNote))
	add("boot", join(": ", run.Boot, run.BootNote))
	if b := run.Built; b != nil {
		add("kernel commit", b.Commit)
		add("compiler", b.Toolchain)
		add(".config", b.Config)
		add("content", b.Content)
	}
	var phases []string
	for name := range run.Timings {
		phases = append(phases, name)
	}
	slices.Sort(phases)
	for j, name := range phases {
		phases[j] = fmt.Sprintf("%s %.1f s", name, run.Timings[name])
	}
	add("took", strings.Join(phases, ", "))
	add("evidence", v.opt.evidence(run))
	return facts
}

type pageWalk struct {
	Summary  string
	Cells    []walkCell
	Legend   []walkCell
	Untried  bool
	Findings []pageFinding
}

type walkCell struct{ Class, Letter, Title, Href string }

type pageFinding struct{ ID, Class, Kind, Words, Text string }

// pageWalk is the walk as a strip: a cell an allocation, the worst that came
// of it. A letter stands in it, so that it can be read without colours.
func (v *view) pageWalk(i int, run reports.Run) *pageWalk {
	const most = 3000 // cells
	walk := run.Walk
	p := &pageWalk{Summary: walkSummary(run) + "."}
	p.Cells = make([]walkCell, max(0, min(walk.Allocations, most)))
	for n := range p.Cells {
		p.Cells[n].Class = "fine"
		if n >= walk.Failed {
			p.Cells[n].Class, p.Untried = "untried", true
		}
	}
	worst := map[int]int{}
	for j, f := range walk.Findings {
		href := v.leakHref(i, f.Signature)
		if f.Kind != "leak" {
			id := fmt.Sprintf("finding-%d-%d", i, j)
			href = "#" + id
			p.Findings = append(p.Findings, pageFinding{id, class(f.Kind), f.Kind, findingWords(f, v.opt), strings.TrimRight(f.Text, "\n")})
		}
		kind := slices.Index(findingKinds, f.Kind)
		if f.N < 1 || f.N > len(p.Cells) || kind < 0 {
			continue
		}
		if w, ok := worst[f.N]; ok && w <= kind {
			continue
		}
		worst[f.N] = kind
		p.Cells[f.N-1] = walkCell{class(f.Kind), walkLetter(f.Kind), fmt.Sprintf("allocation %d: %s", f.N, f.Kind), href}
	}
	for _, k := range findingKinds {
		if slices.ContainsFunc(p.Cells, func(c walkCell) bool { return c.Class == k }) {
			p.Legend = append(p.Legend, walkCell{Class: k, Letter: walkLetter(k)})
		}
	}
	return p
}

// walkLetter tells a kind of finding without its colour; no two begin alike.
func walkLetter(kind string) string { return strings.ToUpper(kind[:1]) }

// leakHref is the anchor of the leak that a finding of a run speaks of.
func (v *view) leakHref(run int, signature string) string {
	for i, g := range v.leaks {
		if g.Signature == signature && slices.Contains(g.runs, &v.report.Runs[run]) {
			return fmt.Sprintf("#leak-%d", i)
		}
	}
	return fmt.Sprintf("#run-%d", run)
}
