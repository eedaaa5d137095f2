package reports

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
)

// BaselineSchema names the format of kmemgate-baseline.json.
const BaselineSchema = "kmemgate.baseline/v1"

// maxBaseline bounds a baseline that is read.
const maxBaseline = 16 << 20

// Baseline is the leaks that are known. It is sorted and holds neither
// addresses nor line numbers, so that it changes only where the leaks do.
type Baseline struct {
	Schema string          `json:"schema"`
	Leaks  []BaselineEntry `json:"leaks"`
}

// BaselineEntry is one known leak.
type BaselineEntry struct {
	Signature string         `json:"signature"`
	Title     string         `json:"title"`
	Sites     []BaselineSite `json:"sites"`
}

// BaselineSite is one allocating line of a known leak: the function, the
// line's text with white space folded, and how many orphans a run left there.
// A second leak in the same function has another text, or raises the count.
type BaselineSite struct {
	Function string `json:"function"`
	Text     string `json:"text,omitempty"`
	Count    int    `json:"count"`
}

// siteKey is what a site is known by.
type siteKey struct{ signature, function, text string }

// NewBaseline takes the leaks of a report that would fail the gate, and those
// that are known already. Of several runs the highest count of a site holds.
func NewBaseline(r Report) Baseline {
	known := map[siteKey]int{}
	titles := map[string]string{}
	for _, run := range r.Runs {
		for _, l := range run.Leaks {
			if l.Status != New && l.Status != Known {
				continue
			}
			for key, n := range siteCounts(l) {
				known[key] = max(known[key], n)
				if key.signature == l.Signature {
					titles[key.signature] = l.Title
				} else if titles[key.signature] == "" {
					titles[key.signature] = "memory leak in " + key.function
				}
			}
		}
	}
	return buildBaseline(known, titles)
}

// MergeBaselines knows what either does; of a site that both have, the higher
// count holds. Either may be nil.
func MergeBaselines(a, b *Baseline) *Baseline {
	known, titles := map[siteKey]int{}, map[string]string{}
	for _, from := range []*Baseline{a, b} {
		if from == nil {
			continue
		}
		for _, e := range from.Leaks {
			titles[e.Signature] = e.Title
			for _, s := range e.Sites {
				key := siteKey{e.Signature, s.Function, s.Text}
				known[key] = max(known[key], s.Count)
			}
		}
	}
	merged := buildBaseline(known, titles)
	return &merged
}

// Beyond names the first finding of a walk that no baseline can hold: an oops,
// a panic, a hang or a warning has no allocating line. Empty: there is none.
func Beyond(r Report) string {
	for _, run := range r.Runs {
		if run.Walk == nil {
			continue
		}
		for _, f := range run.Walk.Findings {
			if f.Kind != "leak" {
				return fmt.Sprintf("%s %s: %s when allocation %d of the load fails", run.Kernel, run.Arch, f.Kind, f.N)
			}
		}
	}
	return ""
}

func siteCounts(l Leak) map[siteKey]int {
	out := map[siteKey]int{}
	for _, s := range l.Sites {
		out[siteKey{cmp.Or(s.Signature, l.Signature), s.Function, s.Text}] += s.Count
	}
	return out
}

func buildBaseline(known map[siteKey]int, titles map[string]string) Baseline {
	entries := map[string]*BaselineEntry{}
	for key, n := range known {
		e := entries[key.signature]
		if e == nil {
			e = &BaselineEntry{Signature: key.signature, Title: titles[key.signature]}
			entries[key.signature] = e
		}
		e.Sites = append(e.Sites, BaselineSite{key.function, key.text, n})
	}
	b := Baseline{Schema: BaselineSchema, Leaks: make([]BaselineEntry, 0, len(entries))}
	for _, e := range entries {
		slices.SortFunc(e.Sites, func(x, y BaselineSite) int {
			return cmp.Or(cmp.Compare(x.Function, y.Function), cmp.Compare(x.Text, y.Text))
		})
		b.Leaks = append(b.Leaks, *e)
	}
	slices.SortFunc(b.Leaks, func(x, y BaselineEntry) int {
		return cmp.Or(cmp.Compare(x.Title, y.Title), cmp.Compare(x.Signature, y.Signature))
	})
	return b
}

// WriteBaseline writes kmemgate-baseline.json.
func WriteBaseline(w io.Writer, b Baseline) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(b); err != nil {
		return fmt.Errorf("write baseline: %w", err)
	}
	return nil
}

// ReadBaseline reads kmemgate-baseline.json. Unknown keys are errors: a
// misspelt one would let a leak pass, or fail, for no visible reason.
func ReadBaseline(r io.Reader) (Baseline, error) {
	var b Baseline
	text, err := io.ReadAll(io.LimitReader(r, maxBaseline+1))
	if err != nil {
		return b, fmt.Errorf("read baseline: %w", err)
	}
	if len(text) > maxBaseline {
		return b, fmt.Errorf("read baseline: longer than %d bytes", maxBaseline)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&b); err != nil {
		return b, fmt.Errorf("read baseline: %w (make it anew with --update-baseline)", err)
	}
	if b.Schema != BaselineSchema {
		return b, fmt.Errorf("read baseline: schema %q, want %q (make it anew with --update-baseline)", b.Schema, BaselineSchema)
	}
	return b, nil
}

// apply marks the new leaks whose every site is known, as often as it occurs.
// What exceeds the baseline stays new, and the leak's note says by how much.
func (b *Baseline) apply(leaks []Leak) {
	if b == nil {
		return
	}
	left := b.counts()
	for i := range leaks {
		l := &leaks[i]
		if l.Status != New {
			continue
		}
		covered := 0
		for key, n := range siteCounts(*l) {
			take := min(n, left[key])
			left[key] -= take
			covered += take
		}
		switch {
		case covered >= l.Count:
			l.Status, l.Note = Known, "in the baseline"
		case covered > 0:
			l.Note = joinNotes(l.Note, fmt.Sprintf("%d of %d objects are in the baseline, the rest is new", covered, l.Count))
		}
	}
}

// partlyKnown is what apply notes of a leak that the baseline has a part of.
var partlyKnown = regexp.MustCompile(`(; )?\d+ of \d+ objects are in the baseline, the rest is new$`)

// forget undoes apply.
func forget(l Leak) Leak {
	if l.Status == Known {
		l.Status, l.Note = New, ""
	}
	l.Note = partlyKnown.ReplaceAllString(l.Note, "")
	return l
}

// counts are how many orphans of each site are known. No baseline knows none.
func (b *Baseline) counts() map[siteKey]int {
	known := map[siteKey]int{}
	if b == nil {
		return known
	}
	for _, e := range b.Leaks {
		for _, s := range e.Sites {
			known[siteKey{e.Signature, s.Function, s.Text}] += s.Count
		}
	}
	return known
}
