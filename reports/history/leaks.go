package history

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/kmemgate/kmemgate/reports"
)

// DefaultNights is how far back a question looks.
const DefaultNights = 30

// Query narrows a question; the zero value asks for all of the last
// DefaultNights nights.
type Query struct {
	Nights    int    // how many nights back; what was last seen before is not told
	Scenario  string // this one only
	Line      string // this kernel line only, e.g. "6.12"
	Signature string // this one only
}

// Leak is what the history knows of one signature in one scenario on one
// kernel line, over all architectures.
type Leak struct {
	// Key names the leak in issues and in commands; it is made of the
	// scenario, the line and the signature, and never changes.
	Key       string `json:"key"`
	State     State  `json:"state"`
	Why       string `json:"why"` // the state, in a sentence
	Scenario  string `json:"scenario"`
	Line      string `json:"line"`
	Signature string `json:"signature"`
	Title     string `json:"title"`
	Kind      string `json:"kind"`
	Function  string `json:"function"`
	Module    string `json:"module,omitempty"`
	File      string `json:"file,omitempty"`
	FileLine  int    `json:"file_line,omitempty"`

	First     Sighting  `json:"first_seen"`
	Last      Sighting  `json:"last_seen"`
	LastClean *Sighting `json:"last_clean,omitempty"` // the run before First that did not see it; nil: there was none
	FixedIn   *Sighting `json:"fixed_in,omitempty"`   // the first run after Last that did not see it
	Arches    []string  `json:"arches"`               // where it was seen within the window
	Elsewhere []string  `json:"elsewhere,omitempty"`  // other kernel lines that this scenario showed it on

	Seen  int   `json:"seen"`  // runs within the window that saw it
	Runs  int   `json:"runs"`  // runs within the window that could have
	Count int64 `json:"count"` // orphans, in the last run that saw it
	Bytes int64 `json:"bytes"`

	Frames []reports.Frame `json:"frames,omitempty"`
	Record string          `json:"record,omitempty"` // as kmemleak printed it first

	oldest int64 // the oldest kernel that showed it in this scenario, on any line
}

// Sighting is a run, from a leak's point of view.
type Sighting struct {
	Night     string    `json:"night"`
	At        time.Time `json:"at"`
	Kernel    string    `json:"kernel"`
	Commit    string    `json:"commit,omitempty"`
	Arch      string    `json:"arch"`
	Toolchain string    `json:"toolchain,omitempty"`
	Reproduce string    `json:"reproduce,omitempty"`

	nightAt int64
	version int64
}

// track is a row of tracks with its cell.
type track struct {
	cell, signature       int64
	firstRun, firstAt     int64
	lastRun, lastAt, seen int64
	scenario, line, arch  string
}

type group struct {
	scenario, line string
	signature      int64
}

// Leaks lists what was seen within the window, with its state today: what is
// there first, then what is gone, each the newest first.
func (h *History) Leaks(ctx context.Context, q Query) ([]Leak, error) {
	since, err := h.window(ctx, cmp.Or(q.Nights, DefaultNights))
	if err != nil {
		return nil, err
	}
	tracks, err := h.tracks(ctx, "t.last_at >= ?", since)
	if err != nil {
		return nil, err
	}
	wanted := map[group]bool{}
	everywhere := map[int64][]track{}
	var leaks []Leak
	for _, t := range tracks {
		g := group{t.scenario, t.line, t.signature}
		if wanted[g] || q.Scenario != "" && q.Scenario != t.scenario || q.Line != "" && q.Line != t.line {
			continue
		}
		wanted[g] = true
		if everywhere[t.signature] == nil {
			if everywhere[t.signature], err = h.tracks(ctx, "t.signature = ?", t.signature); err != nil {
				return nil, err
			}
		}
		l, err := h.leak(ctx, g, everywhere[t.signature], since)
		if err != nil {
			return nil, err
		}
		if q.Signature == "" || q.Signature == l.Signature {
			leaks = append(leaks, l)
		}
	}
	slices.SortStableFunc(leaks, byUrgency)
	return leaks, nil
}

func byUrgency(a, b Leak) int {
	order := []State{Regression, Unconfirmed, Flaky, Accepted, Fixed, Gone}
	return cmp.Or(cmp.Compare(slices.Index(order, a.State), slices.Index(order, b.State)), b.First.At.Compare(a.First.At),
		cmp.Compare(a.Scenario, b.Scenario), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Title, b.Title), cmp.Compare(a.Key, b.Key))
}

const selectTracks = `SELECT t.cell, t.signature, t.first_run, t.first_at, t.last_run, t.last_at, t.seen, c.scenario, c.line, c.arch
	FROM tracks t JOIN cells c ON c.id = t.cell WHERE `

func (h *History) tracks(ctx context.Context, where string, arg any) ([]track, error) {
	return list(ctx, h.db, func(rows *sql.Rows) (t track, err error) {
		return t, rows.Scan(&t.cell, &t.signature, &t.firstRun, &t.firstAt, &t.lastRun, &t.lastAt, &t.seen, &t.scenario, &t.line, &t.arch)
	}, selectTracks+where+" ORDER BY t.first_at, t.cell", arg)
}

// leak gathers one leak from its tracks on all cells.
func (h *History) leak(ctx context.Context, g group, everywhere []track, since int64) (Leak, error) {
	l := Leak{Scenario: g.scenario, Line: g.line}
	if err := h.describe(ctx, g.signature, &l); err != nil {
		return l, err
	}
	var own []track
	for _, t := range everywhere {
		if t.scenario != g.scenario {
			continue
		}
		if err := h.placeTrack(ctx, t, &l); err != nil {
			return l, err
		}
		if t.line == g.line {
			own = append(own, t)
		}
	}
	if err := h.firstAndLast(ctx, own, &l); err != nil {
		return l, err
	}
	return l, h.course(ctx, own, since, &l)
}

// placeTrack notes the other lines and the oldest kernel.
func (h *History) placeTrack(ctx context.Context, t track, l *Leak) error {
	first, err := h.sighting(ctx, t.firstRun)
	if err != nil {
		return err
	}
	if l.oldest == 0 || first.version < l.oldest {
		l.oldest = first.version
	}
	if t.line != l.Line && !slices.Contains(l.Elsewhere, t.line) {
		l.Elsewhere = append(l.Elsewhere, t.line)
	}
	return nil
}

func (h *History) describe(ctx context.Context, signature int64, l *Leak) error {
	var frames string
	err := h.db.QueryRowContext(ctx, "SELECT signature, title, kind, function, module, file, line, frames, record FROM signatures WHERE id = ?", signature).
		Scan(&l.Signature, &l.Title, &l.Kind, &l.Function, &l.Module, &l.File, &l.FileLine, &frames, &l.Record)
	if err != nil {
		return fmt.Errorf("signature %d: %w", signature, err)
	}
	l.Key = leakKey(l.Scenario, l.Line, l.Signature)
	return json.Unmarshal([]byte(frames), &l.Frames)
}

func leakKey(scenario, line, signature string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", scenario, line, signature))
	return hex.EncodeToString(sum[:8])
}

func (h *History) firstAndLast(ctx context.Context, own []track, l *Leak) (err error) {
	first := slices.MinFunc(own, func(a, b track) int { return cmp.Compare(a.firstAt, b.firstAt) })
	last := slices.MaxFunc(own, func(a, b track) int { return cmp.Compare(a.lastAt, b.lastAt) })
	if l.First, err = h.sighting(ctx, first.firstRun); err != nil {
		return err
	}
	if l.Last, err = h.sighting(ctx, last.lastRun); err != nil {
		return err
	}
	for _, t := range own {
		const before = "SELECT id FROM runs WHERE cell = ? AND at < ? AND verdict IN ('clean', 'leaks') ORDER BY at DESC LIMIT 1"
		var run int64
		err := h.db.QueryRowContext(ctx, before, t.cell, first.firstAt).Scan(&run)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		} else if err != nil {
			return err
		}
		s, err := h.sighting(ctx, run)
		if err != nil {
			return err
		}
		if l.LastClean == nil || s.At.After(l.LastClean.At) {
			l.LastClean = &s
		}
	}
	return nil
}

func (h *History) sighting(ctx context.Context, run int64) (s Sighting, err error) {
	var at int64
	err = h.db.QueryRowContext(ctx, `SELECT n.label, n.at, r.at, b.kernel, b.revision, b.arch, b.toolchain, b.version, r.reproduce
		FROM runs r JOIN nights n ON n.id = r.night JOIN builds b ON b.id = r.build WHERE r.id = ?`, run).
		Scan(&s.Night, &s.nightAt, &at, &s.Kernel, &s.Commit, &s.Arch, &s.Toolchain, &s.version, &s.Reproduce)
	s.At = fromMillis(at)
	if err != nil {
		return s, fmt.Errorf("run %d: %w", run, err)
	}
	return s, nil
}
