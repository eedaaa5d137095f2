package history

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/kmemgate/kmemgate/reports"
)

// ranks orders the statuses by what they mean for a night: the lower, the
// weightier. The first three are leaks that were there, accepted or not;
// transient and noise are kept, but no question counts them.
var ranks = []reports.Status{reports.New, reports.Known, reports.Suppressed, reports.Transient, reports.Noise}

func rank(s reports.Status) int { return slices.Index(ranks, s) }

// present says whether a sighting of this status is one of a leak.
func present(s reports.Status) bool { r := rank(s); return r >= 0 && r <= rank(reports.Suppressed) }

// conclusive says whether a run with this verdict can tell that a leak is
// there or gone. A run without a verdict says neither.
func conclusive(v reports.Verdict) bool { return v == reports.Clean || v == reports.Leaks }

// sightings lists what a run saw, one a signature: its leaks, and the oopses,
// panics, hangs and warnings of a walk, which get a signature of the same
// make (kind and innermost functions).
func sightings(r reports.Run) []reports.Leak {
	var all []reports.Leak
	at := map[string]int{}
	add := func(l reports.Leak) {
		i, ok := at[l.Signature]
		if !ok {
			at[l.Signature] = len(all)
			all = append(all, l)
			return
		}
		seen := &all[i]
		if rank(l.Status) < rank(seen.Status) {
			seen.Status = l.Status
		}
		seen.Count += l.Count
		seen.Bytes += l.Bytes
	}
	for _, l := range r.Leaks {
		add(l)
	}
	if r.Walk != nil {
		for _, f := range r.Walk.Findings {
			if f.Kind != "leak" {
				add(finding(f))
			}
		}
	}
	return all
}

func finding(f reports.Finding) reports.Leak {
	l := reports.Leak{Signature: f.Signature, Status: reports.New, Kind: f.Kind, Function: "?", Count: 1, Frames: f.Stack}
	functions := []string{f.Kind}
	for i, frame := range f.Stack[:min(3, len(f.Stack))] {
		if i == 0 {
			l.Function, l.Module, l.File, l.Line = frame.Function, frame.Module, frame.File, frame.Line
		}
		functions = append(functions, frame.Function)
	}
	if l.Signature == "" {
		l.Signature = "walk:" + strings.Join(functions, "<")
	}
	l.Title = f.Kind + " where an allocation fails in " + l.Function
	if f.Text != "" {
		l.Records = []string{f.Text}
	}
	return l
}

// total counts the orphans of a run. What is no object (an oops) is none.
func total(seen []reports.Leak) (orphans int, bytes int64) {
	for _, l := range seen {
		if present(l.Status) && object(l.Kind) {
			orphans += l.Count
			bytes += l.Bytes
		}
	}
	return orphans, bytes
}

// object tells an orphan from what a walk of error paths met besides.
func object(kind string) bool {
	return !slices.Contains([]string{"oops", "panic", "hang", "stuck", "warn"}, kind)
}

// sighting writes one, and brings the track of its signature up to date. The
// tracks hold leaks that were there, in runs with a verdict.
func (w *writer) sighting(run, cell, at int64, v reports.Verdict, l reports.Leak) error {
	sig, err := w.signature(l)
	if err != nil {
		return err
	}
	_, err = w.exec("INSERT INTO sightings (run, signature, status, count, bytes) VALUES (?, ?, ?, ?, ?)", run, sig, string(l.Status), l.Count, l.Bytes)
	if err != nil || !conclusive(v) || !present(l.Status) {
		return err
	}
	_, err = w.exec(`INSERT INTO tracks (cell, signature, first_run, first_at, last_run, last_at, seen) VALUES (?1, ?2, ?3, ?4, ?3, ?4, 1)
		ON CONFLICT (cell, signature) DO UPDATE SET seen = seen + 1,
			first_run = CASE WHEN ?4 <  first_at THEN ?3 ELSE first_run END, first_at = min(first_at, ?4),
			last_run  = CASE WHEN ?4 >= last_at  THEN ?3 ELSE last_run  END, last_at  = max(last_at, ?4)`, cell, sig, run, at)
	return err
}

func (w *writer) signature(l reports.Leak) (int64, error) {
	frames := slices.Clone(l.Frames[:min(maxFrames, len(l.Frames))])
	for i, f := range frames {
		frames[i].Function, frames[i].Module, frames[i].File = name(f.Function), name(f.Module), name(f.File)
	}
	text, err := json.Marshal(frames)
	if err != nil {
		return 0, err
	}
	var record string
	if len(l.Records) > 0 {
		record = block(l.Records[0], maxRecord)
	}
	return w.id("SELECT id FROM signatures WHERE signature = ?",
		"INSERT INTO signatures (signature, title, kind, function, module, file, line, size, frames, record) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		[]any{name(l.Signature)}, name(l.Title), name(l.Kind), name(l.Function), name(l.Module), name(l.File), l.Line, l.Size, string(text), record)
}
