package scenarios

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Observed is what a run came to, in the words of its report: the part of it
// that an expectation can speak of. It exists so that this package need not
// know the report's.
type Observed struct {
	Verdict string
	Reason  string
	Detail  string
	Leaks   []ObservedLeak
	Dmesg   string
	Output  string // what exercise printed
}

// ObservedLeak is one leak of a report.
type ObservedLeak struct {
	Function string
	Kind     string
	Status   string
	Count    int
	Size     int64
	PerCycle float64
	File     string
	Line     int
	Children int
}

// Check compares a run with the expectation and returns every difference, as
// "want …, got …"; nothing where the run is as expected. Leaks that passed by
// (transient) or that the control run shows as well (noise) are compared only
// where the expectation lists them: they do not decide a verdict. Without a
// verdict, as expected, what leaks were found is compared only where some are
// listed.
func (e Expectation) Check(o Observed) []string {
	var diff []string
	if e.Verdict != o.Verdict {
		diff = append(diff, fmt.Sprintf("verdict: want %s, got %s%s", withReason(e.Verdict, e.Reason), withReason(o.Verdict, o.Reason), detail(o.Detail)))
	} else if e.Reason != "" && !slices.Contains(strings.Split(e.Reason, "|"), o.Reason) {
		diff = append(diff, fmt.Sprintf("reason: want %s, got %s%s", e.Reason, cmp.Or(o.Reason, "none"), detail(o.Detail)))
	}
	if e.Verdict != "none" || o.Verdict != "none" || len(e.Leaks) > 0 {
		diff = append(diff, compareLeaks(e.Leaks, o.Leaks)...)
	}
	diff = append(diff, missing("detail", e.Detail, o.Detail)...)
	diff = append(diff, missing("dmesg", e.Dmesg, o.Dmesg)...)
	diff = append(diff, missing("output", e.Output, o.Output)...)
	return append(diff, unwanted("dmesg", e.NoDmesg, o.Dmesg)...)
}

func withReason(verdict, reason string) string {
	if reason == "" {
		return cmp.Or(verdict, "no verdict at all")
	}
	return verdict + " (" + reason + ")"
}

func detail(text string) string {
	if text == "" {
		return ""
	}
	return ": " + text
}

// compareLeaks pairs wanted and found leaks. The most demanding wishes choose
// first, so that a wish without numbers does not take another's leak.
func compareLeaks(want []ExpectedLeak, got []ObservedLeak) []string {
	want = slices.Clone(want)
	slices.SortStableFunc(want, func(a, b ExpectedLeak) int { return b.demands() - a.demands() })
	left := slices.Clone(got)
	var diff []string
	for _, w := range want {
		i := slices.IndexFunc(left, w.fits)
		if i < 0 {
			diff = append(diff, fmt.Sprintf("leak: want %s, got %s", w, nearest(w, left)))
			continue
		}
		left = slices.Delete(left, i, i+1)
	}
	for _, l := range left {
		if l.Status != "transient" && l.Status != "noise" {
			diff = append(diff, fmt.Sprintf("leak: want none but those listed, got %s", l))
		}
	}
	return diff
}

// fits tells whether the leak is the wished one, field by field where the wish
// has a value.
func (l ExpectedLeak) fits(o ObservedLeak) bool {
	return cmp.Or(l.Status, "new") == cmp.Or(o.Status, "new") &&
		is(l.Function, o.Function) && is(l.Kind, o.Kind) && is(l.File, o.File) &&
		is(l.Count, o.Count) && is(l.Size, o.Size) && (l.PerCycle == nil || *l.PerCycle == o.PerCycle) && is(l.Line, o.Line) && is(l.Children, o.Children)
}

func is[T comparable](want, got T) bool {
	var zero T
	return want == zero || want == got
}

func (l ExpectedLeak) demands() int {
	n := 0
	for _, set := range []bool{l.Function != "", l.Kind != "", l.File != "", l.Count != 0, l.Size != 0, l.PerCycle != nil, l.Line != 0, l.Children != 0} {
		if set {
			n++
		}
	}
	return n
}

// nearest shows the leak that comes closest: the one of the same function.
func nearest(w ExpectedLeak, got []ObservedLeak) string {
	if len(got) == 0 {
		return "no such leak"
	}
	if i := slices.IndexFunc(got, func(o ObservedLeak) bool { return o.Function == w.Function }); i >= 0 {
		return got[i].String()
	}
	names := make([]string, len(got))
	for i, o := range got {
		names[i] = cmp.Or(o.Function, "?")
	}
	return "only " + strings.Join(names, ", ")
}

// String gives the leak as kmemgate.yml would have it.
func (l ExpectedLeak) String() string {
	return ObservedLeak(l.observed()).String()
}

func (l ExpectedLeak) observed() ObservedLeak {
	var perCycle float64
	if l.PerCycle != nil {
		perCycle = *l.PerCycle
	}
	return ObservedLeak{
		Function: l.Function, Kind: l.Kind, Status: cmp.Or(l.Status, "new"), Count: l.Count,
		Size: l.Size, PerCycle: perCycle, File: l.File, Line: l.Line, Children: l.Children,
	}
}

// String gives the leak as kmemgate.yml would have it.
func (o ObservedLeak) String() string {
	var parts []string
	put := func(key, value string, set bool) {
		if set {
			parts = append(parts, key+": "+value)
		}
	}
	put("function", o.Function, o.Function != "")
	put("kind", o.Kind, o.Kind != "")
	put("status", o.Status, o.Status != "")
	put("count", fmt.Sprint(o.Count), o.Count != 0)
	put("size", fmt.Sprint(o.Size), o.Size != 0)
	put("per_cycle", fmt.Sprint(o.PerCycle), o.PerCycle != 0)
	put("file", o.File, o.File != "")
	put("line", fmt.Sprint(o.Line), o.Line != 0)
	put("children", fmt.Sprint(o.Children), o.Children != 0)
	return "{" + strings.Join(parts, ", ") + "}"
}

func missing(name string, patterns []string, text string) []string {
	var diff []string
	for _, p := range patterns {
		if re, err := lineRegexp(p); err != nil || !re.MatchString(text) {
			diff = append(diff, fmt.Sprintf("%s: want a line that matches %q, got none", name, p))
		}
	}
	return diff
}

func unwanted(name string, patterns []string, text string) []string {
	var diff []string
	for _, p := range patterns {
		re, err := lineRegexp(p)
		if err != nil {
			diff = append(diff, fmt.Sprintf("%s: %v", name, err))
		} else if line := re.FindString(text); line != "" {
			diff = append(diff, fmt.Sprintf("%s: want no line that matches %q, got %q", name, p, line))
		}
	}
	return diff
}

// lineRegexp lets ^ and $ stand for the ends of a line.
func lineRegexp(pattern string) (*regexp.Regexp, error) {
	return regexp.Compile("(?m)" + pattern)
}
