package render

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kmemgate/kmemgate/reports"
)

// failing tells whether a leak of a run is why its verdict is leaks: a new one
// is, and one that is known or suppressed is under --fail-on any.
func failing(run *reports.Run, l reports.Leak) bool {
	if l.Status == reports.Known || l.Status == reports.Suppressed {
		return countsKnown(run)
	}
	return l.Status == reports.New
}

// countsKnown sees --fail-on any in a verdict that nothing else accounts for:
// the report has the verdict and not the policy.
func countsKnown(run *reports.Run) bool {
	if run.Verdict != reports.Leaks || run.Walk != nil && len(run.Walk.Findings) > 0 {
		return false
	}
	for i := range run.Leaks { // by index: a leak is large, and there may be thousands
		if run.Leaks[i].Status == reports.New {
			return false
		}
	}
	return true
}

// failing are the groups that fail the gate; they stand first.
func (v *view) failing() []group {
	n := slices.IndexFunc(v.leaks, func(g group) bool { return !g.fails })
	if n < 0 {
		return v.leaks
	}
	return v.leaks[:n]
}

// aside are the groups that do not count.
func (v *view) aside() []group { return v.leaks[len(v.failing()):] }

// counted is what failed, by status:
// "2 new leaks (3 objects, 192 bytes), 1 known leak (1 object, 96 bytes)".
func (v *view) counted() string {
	var parts []string
	for _, s := range statuses {
		n, objects, bytes := 0, 0, int64(0)
		for _, g := range v.failing() {
			if g.Status == s {
				n, objects, bytes = n+1, objects+g.Count, bytes+g.Bytes
			}
		}
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%s (%s, %s)", plural(n, string(s)+" leak"), plural(objects, "object"), size(bytes)))
		}
	}
	return strings.Join(parts, ", ")
}

// asides are the leaks that do not count: "1 known, 1 suppressed".
func (v *view) asides() string {
	count := map[reports.Status]int{}
	for _, g := range v.aside() {
		count[g.Status]++
	}
	var parts []string
	for _, s := range statuses {
		if n := count[s]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	return strings.Join(parts, ", ")
}

// standing is what else is to be said of a leak that fails: nothing of a new
// one, "known: in the baseline" of one that --fail-on any counts.
func standing(l reports.Leak) string {
	if l.Status == reports.New {
		return l.Note
	}
	return join(": ", string(l.Status), l.Note)
}
