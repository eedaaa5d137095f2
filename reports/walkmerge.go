package reports

import (
	"cmp"
	"slices"
)

// MergeWalk adds to a run what the pieces of a walk of its error paths found.
// A finding fails the run, whatever else a piece came to; a piece without a
// verdict and without a finding takes the run's verdict away: what was not
// walked did not pass.
func MergeWalk(run Run, pieces []Run) Run {
	total := &WalkResult{Findings: []Finding{}, Bounded: true}
	run.Leaks = slices.Clone(run.Leaks)
	var lost *Run
	for i, p := range pieces {
		if w := p.Walk; w != nil {
			total.Allocations = max(total.Allocations, w.Allocations)
			total.Failed += w.Failed
			total.Findings = append(total.Findings, w.Findings...)
			total.Bounded = total.Bounded && w.Bounded
		}
		for _, l := range p.Leaks {
			run.Leaks = addLeak(run.Leaks, l)
		}
		if p.Verdict == None && lost == nil {
			lost = &pieces[i]
		}
		run.Warnings = addNew(run.Warnings, p.Warnings)
	}
	slices.SortStableFunc(total.Findings, func(a, b Finding) int { return cmp.Compare(a.N, b.N) })
	run.Walk = total
	switch {
	case len(total.Findings) > 0:
		run.Verdict, run.Reason, run.Detail = Leaks, "", ""
	case lost != nil && run.Verdict != Leaks:
		run.Verdict, run.Reason, run.Detail = None, lost.Reason, "while its error paths were walked: "+lost.Detail
	}
	return run
}

// addLeak adds a leak of a walk to those of its signature and status: their
// counts, and the failed allocations that led to it.
func addLeak(leaks []Leak, l Leak) []Leak {
	i := slices.IndexFunc(leaks, func(have Leak) bool {
		return have.Signature == l.Signature && have.Status == l.Status
	})
	if i < 0 {
		return append(leaks, l)
	}
	have := &leaks[i]
	have.Count += l.Count
	have.Bytes += l.Bytes
	have.Children += l.Children
	have.Records = append(slices.Clone(have.Records), l.Records...)
	have.Walk = append(slices.Clone(have.Walk), l.Walk...)
	slices.Sort(have.Walk)
	have.Walk = slices.Compact(have.Walk)
	return leaks
}

func addNew(list, more []string) []string {
	for _, s := range more {
		if !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}
