package reports

import (
	"fmt"
	"slices"
)

// Check tells where a report that was read back contradicts itself: it was
// edited, or cut, and a verdict that its leaks belie must not pass a gate.
func (r Report) Check() error {
	for i := range r.Runs {
		run := &r.Runs[i]
		if why := run.contradiction(); why != "" {
			return fmt.Errorf("%s %s %s: the verdict is %q, and %s: run kmemgate again", run.Kernel, run.Arch, run.Scenario, run.Verdict, why)
		}
	}
	if want := overall(r.Runs); r.Verdict != want {
		return fmt.Errorf("the verdict is %q, and that of its runs %q: run kmemgate again", r.Verdict, want)
	}
	return nil
}

// contradiction is what in a run belies its verdict; empty: nothing. A run
// without a verdict may have leaks: what it saw before it was lost.
func (r *Run) contradiction() string {
	fresh := slices.IndexFunc(r.Leaks, func(l Leak) bool { return l.Status == New })
	findings := r.Walk != nil && len(r.Walk.Findings) > 0
	switch r.Verdict {
	case Clean, Skipped:
		if fresh >= 0 {
			return fmt.Sprintf("%q is new", r.Leaks[fresh].Title)
		}
		if findings {
			return "its walk has findings"
		}
	case Leaks:
		if len(r.Leaks) == 0 && !findings {
			return "there is no leak"
		}
	case None:
	default:
		return "there is no such verdict"
	}
	return ""
}
