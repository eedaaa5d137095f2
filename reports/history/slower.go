package history

import (
	"cmp"
	"context"
	"database/sql"
	"math"
	"slices"
)

// Slowdown is a scenario that took longer in a night than its own noise
// explains.
type Slowdown struct {
	Scenario string  `json:"scenario"`
	Line     string  `json:"line"`
	Arch     string  `json:"arch"`
	Night    string  `json:"night"`
	Seconds  float64 `json:"seconds"`            // median of the night's runs
	Before   float64 `json:"before"`             // median of the nights before
	Noise    float64 `json:"noise"`              // their spread: 1.4826 · MAD, a standard deviation's worth
	Limit    float64 `json:"limit"`              // what Seconds exceeds
	Nights   int     `json:"nights"`             // how many nights Before is made of
	Phase    string  `json:"phase,omitempty"`    // which grew most, where it explains half of it
	PhaseBy  float64 `json:"phase_by,omitempty"` // by how many seconds
}

// The rule for slower: with b the median of the nights before (their medians,
// at least minNights) and s = 1.4826 · MAD, which is the standard deviation
// where noise is normal, a night is slower when it exceeds
//
//	b + max(4·s, 10 % of b, 0.5 s)
//
// Median and MAD do not move for a night on a busy machine; 4·s is exceeded by
// chance once in 30,000 times; the other two bounds keep out what is slower,
// but too little to care.
const (
	minNights = 5
	sigmas    = 4
	share     = 0.10
	least     = 0.5
	madScale  = 1.4826 // https://en.wikipedia.org/wiki/Median_absolute_deviation
)

// Slower lists what became slower in the night of that label ("": the last),
// against the nights before it within the window, the most slowed first.
func (h *History) Slower(ctx context.Context, label string, q Query) ([]Slowdown, error) {
	night, err := h.night(ctx, label)
	if err != nil {
		return nil, err
	}
	since, err := h.window(ctx, cmp.Or(q.Nights, DefaultNights)+1)
	if err != nil {
		return nil, err
	}
	cells, err := h.cellsOf(ctx, night)
	if err != nil {
		return nil, err
	}
	found := []Slowdown{}
	for _, c := range cells {
		if q.Scenario != "" && q.Scenario != c.Scenario || q.Line != "" && q.Line != c.Line {
			continue
		}
		s, slower, err := h.slower(ctx, c, night, since)
		if err != nil {
			return nil, err
		}
		if slower {
			found = append(found, s)
		}
	}
	slices.SortFunc(found, func(a, b Slowdown) int { return cmp.Compare(b.Seconds/b.Before, a.Seconds/a.Before) })
	return found, nil
}

type cell struct {
	id                   int64
	Scenario, Line, Arch string
}

func (h *History) cellsOf(ctx context.Context, n Night) ([]cell, error) {
	return list(ctx, h.db, func(rows *sql.Rows) (c cell, err error) {
		return c, rows.Scan(&c.id, &c.Scenario, &c.Line, &c.Arch)
	}, `SELECT c.id, c.scenario, c.line, c.arch FROM (SELECT DISTINCT cell FROM runs WHERE night = ?) tonight
		JOIN cells c ON c.id = tonight.cell ORDER BY c.scenario, c.line, c.arch`, n.id)
}

func (h *History) slower(ctx context.Context, c cell, night Night, since int64) (Slowdown, bool, error) {
	now, before, err := h.split(ctx, night, `SELECT r.night, n.at, r.seconds FROM runs r JOIN nights n ON n.id = r.night
		WHERE r.cell = ? AND r.at >= ? AND r.seconds > 0 AND r.verdict IN ('clean', 'leaks')`, c.id, since)
	if err != nil || len(now) == 0 || len(before) < minNights {
		return Slowdown{}, false, err
	}
	s := Slowdown{Scenario: c.Scenario, Line: c.Line, Arch: c.Arch, Night: night.Label, Seconds: median(now), Nights: len(before)}
	s.Before, s.Noise = spread(before)
	s.Limit = s.Before + max(sigmas*s.Noise, share*s.Before, least)
	if s.Seconds <= s.Limit {
		return s, false, nil
	}
	s.Phase, s.PhaseBy, err = h.slowestPhase(ctx, c, night, since)
	if s.PhaseBy < (s.Seconds-s.Before)/2 {
		s.Phase, s.PhaseBy = "", 0 // it explains less than half: no single phase is to blame
	}
	return s, true, err
}

// slowestPhase names the phase that grew most.
func (h *History) slowestPhase(ctx context.Context, c cell, night Night, since int64) (string, float64, error) {
	phases, err := list(ctx, h.db, func(rows *sql.Rows) (p struct {
		id   int64
		name string
	}, err error) {
		return p, rows.Scan(&p.id, &p.name)
	}, "SELECT id, name FROM phases WHERE name != 'total' ORDER BY name")
	if err != nil {
		return "", 0, err
	}
	var slowest string
	var most float64
	for _, p := range phases {
		now, before, err := h.split(ctx, night, `SELECT r.night, n.at, t.seconds FROM runs r JOIN nights n ON n.id = r.night
			JOIN timings t ON t.run = r.id AND t.phase = ? WHERE r.cell = ? AND r.at >= ? AND r.verdict IN ('clean', 'leaks')`, p.id, c.id, since)
		if err != nil {
			return "", 0, err
		}
		if len(now) == 0 || len(before) == 0 {
			continue
		}
		if by := median(now) - median(before); by > most {
			slowest, most = p.name, by
		}
	}
	return slowest, most, nil
}

// split reads (night, its beginning, seconds) and returns the times of this
// night, and one median for each night before it.
func (h *History) split(ctx context.Context, night Night, query string, args ...any) (now, before []float64, err error) {
	type sample struct {
		night, at int64
		seconds   float64
	}
	samples, err := list(ctx, h.db, func(rows *sql.Rows) (s sample, err error) {
		return s, rows.Scan(&s.night, &s.at, &s.seconds)
	}, query, args...)
	nights := map[int64][]float64{}
	for _, s := range samples {
		if s.night == night.id {
			now = append(now, s.seconds)
		} else if s.at <= night.at {
			nights[s.night] = append(nights[s.night], s.seconds)
		}
	}
	for _, seconds := range nights {
		before = append(before, median(seconds))
	}
	return now, before, err
}

// spread is the median of v and its noise, in v's unit.
func spread(v []float64) (middle, noise float64) {
	middle = median(v)
	away := make([]float64, len(v))
	for i := range v {
		away[i] = math.Abs(v[i] - middle)
	}
	return middle, madScale * median(away)
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	n := len(v)
	if n%2 == 1 {
		return v[n/2]
	}
	return (v[n/2-1] + v[n/2]) / 2
}
