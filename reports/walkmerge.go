package reports

import (
	"cmp"
	"fmt"
	"slices"
)

// MergeWalk adds to a run what the pieces of a walk of its error paths found.
// A finding fails the run, whatever else a piece came to; a piece without a
// verdict and without a finding takes the run's verdict away: what was not
// walked did not pass. What the run leaks without a failing allocation is no
// finding of the walk: each load of it leaks that. What is known is known of all
// pieces together.
func MergeWalk(run Run, pieces []Run, known *Baseline) Run {
	plain := signatures(run.Leaks)
	leaks := walkedLeaks(pieces, plain, known)
	run.Leaks = slices.Concat(run.Leaks, leaks)
	run.Warnings = slices.Clone(run.Warnings)
	total := &WalkResult{Findings: []Finding{}}
	parts := partsOf(pieces)
	for _, p := range parts {
		total.add(p, len(parts) > 1)
	}
	total.Findings = slices.DeleteFunc(total.Findings, func(f Finding) bool { return f.Kind == "leak" && plain[f.Signature] })
	slices.SortStableFunc(total.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Of, b.Of), cmp.Compare(a.N, b.N))
	})
	run.Walk = total
	for _, p := range pieces {
		run.Warnings = addNew(run.Warnings, p.Warnings)
		run.UsedSuppressions = addNew(run.UsedSuppressions, p.UsedSuppressions)
	}
	run.UnusedSuppressions = slices.DeleteFunc(slices.Clone(run.UnusedSuppressions), func(s string) bool {
		return slices.Contains(run.UsedSuppressions, s)
	})
	leaked := slices.ContainsFunc(leaks, func(l Leak) bool { return l.Status == New })
	reason, detail := incomplete(total, pieces)
	switch {
	case len(total.Findings) > 0 || leaked || run.Verdict == Leaks:
		if run.Verdict, run.Reason, run.Detail = Leaks, "", ""; reason != "" {
			run.Warnings = append(run.Warnings, fmt.Sprintf("the walk of its error paths is not complete: %s: %s", reason, detail))
		}
	case reason != "":
		run.Verdict, run.Reason, run.Detail = None, reason, "while its error paths were walked: "+detail
	}
	return run
}

// walkedLeaks are those of all pieces, but for what leaks without a failing
// allocation. Each piece was judged by the whole baseline, so they are held
// against it once more, together.
func walkedLeaks(pieces []Run, plain map[string]bool, known *Baseline) []Leak {
	var leaks []Leak
	for _, p := range pieces {
		for _, l := range p.Leaks {
			if !plain[l.Signature] {
				leaks = addLeak(leaks, forget(l))
			}
		}
	}
	known.apply(leaks)
	return leaks
}

// signatures are those of leaks that were there, whatever they mean.
func signatures(leaks []Leak) map[string]bool {
	out := map[string]bool{}
	for _, l := range leaks {
		if l.Status != Transient {
			out[l.Signature] = true
		}
	}
	return out
}

// partsOf sorts pieces by what they are of, in the order of their coming.
func partsOf(pieces []Run) [][]*WalkResult {
	var parts [][]*WalkResult
	at := map[walkPart]int{}
	for _, p := range pieces {
		if p.Walk == nil {
			continue
		}
		i, ok := at[p.Walk.part]
		if !ok {
			i, at[p.Walk.part] = len(parts), len(parts)
			parts = append(parts, nil)
		}
		parts[i] = append(parts[i], p.Walk)
	}
	return parts
}

// add adds the pieces of one part. With several, each finding names its own.
func (w *WalkResult) add(pieces []*WalkResult, several bool) {
	part := WalkResult{part: pieces[0].part}
	var steps []walkedStep
	for _, p := range pieces {
		steps = append(steps, p.steps...)
		for _, f := range p.Findings {
			if several || part.part.module == "" {
				f.Of = part.part.String()
			}
			w.Findings = append(w.Findings, f)
		}
		w.Only = p.Only
	}
	part.count(steps)
	w.Allocations += part.Allocations
	w.Failed += part.Failed
	w.Bounded = w.Bounded || part.Bounded
}

// incomplete tells why a walk may have missed something: a piece that came to no
// verdict, or an allocation that nobody made fail.
func incomplete(w *WalkResult, pieces []Run) (reason, detail string) {
	for _, p := range pieces {
		if p.Verdict == None {
			return p.Reason, p.Detail
		}
	}
	if w.Failed < w.Allocations || len(pieces) == 0 {
		return ReasonIncomplete, fmt.Sprintf("%d of %d allocations failed once", w.Failed, w.Allocations)
	}
	return "", ""
}

// addLeak adds a leak of a walk to those of its signature and status: their
// counts, in all and at each site, and the failed allocations that led to it.
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
	have.Sites = addSites(have.Sites, l.Sites)
	have.Records = slices.Concat(have.Records, l.Records)
	have.Records = have.Records[:min(len(have.Records), MaxRecords)]
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
