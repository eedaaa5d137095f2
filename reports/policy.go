package reports

import (
	"fmt"
	"path"
	"time"
)

// Policy is what the user wants judged, and how. Its zero value fails on
// whatever is new.
type Policy struct {
	// FailOn is "new" (also where empty), "any" (known and suppressed leaks
	// fail as well) or "never". The verdict of a run under "never" is the same
	// as under "new": what to make of it is the caller's (see Report.Fails).
	FailOn string
	// AllowWarn judges in spite of warnings in the kernel log.
	AllowWarn bool
	// RequireProbe gives no verdict where no driver bound a device.
	RequireProbe bool
	// Suppress are the suppressions for this run's kernel.
	Suppress []Suppression
	// Baseline holds the known leaks; nil: none.
	Baseline *Baseline
	// Now decides what has expired; zero: nothing has.
	Now time.Time
	// Dir is the run's folder where Capture.Dir is empty.
	Dir string
}

// Suppression declares a leak harmless, with a reason (scenarios.Suppression).
type Suppression struct {
	Match     string // glob on the title
	Signature string // or this one exactly
	Reason    string // required
	URL       string //
	Expires   string // YYYY-MM-DD, the last day it holds
	Line      int    // in kmemgate.yml
}

// name is how warnings call a suppression.
func (s Suppression) name() string {
	what := fmt.Sprintf("match %q", s.Match)
	if s.Signature != "" {
		what = "signature " + s.Signature
	}
	if s.Line > 0 {
		return fmt.Sprintf("suppression in line %d (%s)", s.Line, what)
	}
	return "suppression (" + what + ")"
}

func (s Suppression) matches(l *Leak) bool {
	if s.Signature != "" {
		return s.Signature == l.Signature
	}
	ok, err := path.Match(s.Match, l.Title)
	return err == nil && ok
}

// expired tells whether its last day is over. A date that cannot be read has
// expired: a typing error must not silence a leak for ever.
func (s Suppression) expired(now time.Time) bool {
	if s.Expires == "" || now.IsZero() {
		return false
	}
	day, err := time.Parse(time.DateOnly, s.Expires)
	return err != nil || !now.Before(day.AddDate(0, 0, 1))
}

// suppress marks new leaks that a suppression covers and returns warnings for
// expired ones. used collects the indices of those that matched anything.
func suppress(leaks []Leak, list []Suppression, now time.Time) (warnings []string, used map[int]bool) {
	used = map[int]bool{}
	for i, s := range list {
		for k := range leaks {
			l := &leaks[k]
			if !s.matches(l) || l.Status != New && l.Status != Suppressed {
				continue
			}
			used[i] = true
			if s.expired(now) {
				l.Note = joinNotes(l.Note, "its suppression expired on "+s.Expires)
				warnings = append(warnings, fmt.Sprintf("%s expired on %s: %q counts as new again", s.name(), s.Expires, l.Title))
				continue
			}
			if l.Status == New {
				l.Status, l.Note = Suppressed, suppressionNote(s)
			}
		}
	}
	return warnings, used
}

func suppressionNote(s Suppression) string {
	if s.URL != "" {
		return s.Reason + " (" + s.URL + ")"
	}
	return s.Reason
}

func joinNotes(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

// splitSuppressions names those that matched a leak of any kind, and those that
// did not: they wait to silence the next one.
func splitSuppressions(list []Suppression, matched map[int]bool) (used, unused []string) {
	for i, s := range list {
		if matched[i] {
			used = append(used, s.name())
		} else {
			unused = append(unused, s.name())
		}
	}
	return used, unused
}
