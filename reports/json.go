package reports

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
)

// maxReport bounds a report.json that is read back.
const maxReport = 256 << 20

// NewReport makes one report of the judgements of all runs.
func NewReport(runs []Run) Report {
	if runs == nil {
		runs = []Run{}
	}
	return Report{Schema: Schema, Verdict: overall(runs), Runs: runs, Warnings: staleWarnings(runs)}
}

// staleWarnings names the suppressions that no run with a verdict used, of those
// on a kernel that they are for.
func staleWarnings(runs []Run) []string {
	used, unused := map[string]bool{}, map[string]bool{}
	for _, r := range runs {
		if r.Verdict != Clean && r.Verdict != Leaks {
			continue
		}
		for _, s := range r.UsedSuppressions {
			used[s] = true
		}
		for _, s := range r.UnusedSuppressions {
			unused[s] = true
		}
	}
	var out []string
	for s := range unused {
		if !used[s] {
			out = append(out, s+" is stale: it matches no leak any more; remove it")
		}
	}
	slices.Sort(out)
	return out
}

// Fails tells whether the gate fails, as --fail-on ("new", "any" or "never")
// has it. A report without verdict is not this function's concern: no verdict
// is never a pass, whatever --fail-on says.
func (r Report) Fails(failOn string) bool {
	return r.Verdict == Leaks && failOn != "never"
}

// NoVerdict tells whether some run has none. Where a leak decides the overall
// verdict, such a run hides behind it: whoever excuses the leak must ask.
func (r Report) NoVerdict() bool {
	return len(r.Runs) == 0 || slices.ContainsFunc(r.Runs, func(run Run) bool {
		return run.Verdict != Clean && run.Verdict != Leaks && run.Verdict != Skipped
	})
}

// overall is the verdict of several runs: a leak is one, whatever else failed;
// a run without verdict is never hidden by another that passed; what was
// skipped does not fail those that ran, but a report of nothing passed nothing.
func overall(runs []Run) Verdict {
	count := map[Verdict]int{}
	for _, r := range runs {
		count[r.Verdict]++
	}
	switch {
	case count[Leaks] > 0:
		return Leaks
	case count[Skipped] == len(runs) && len(runs) > 0:
		return Skipped
	case len(runs) == 0 || count[Clean]+count[Skipped] != len(runs):
		return None
	}
	return Clean
}

// WriteJSON writes report.json.
func WriteJSON(w io.Writer, r Report) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(r); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// ReadJSON reads a report.json of this schema.
func ReadJSON(r io.Reader) (Report, error) {
	var rep Report
	b, err := io.ReadAll(io.LimitReader(r, maxReport+1))
	if err != nil {
		return rep, fmt.Errorf("read report: %w", err)
	}
	if len(b) > maxReport {
		return rep, fmt.Errorf("read report: longer than %d bytes", maxReport)
	}
	if err := json.Unmarshal(b, &rep); err != nil {
		return rep, fmt.Errorf("read report: %w", err)
	}
	if rep.Schema != Schema {
		return rep, fmt.Errorf("read report: schema %q, want %q", rep.Schema, Schema)
	}
	return rep, nil
}
