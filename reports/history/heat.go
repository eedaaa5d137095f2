package history

import (
	"cmp"
	"context"
	"database/sql"
	"slices"

	"github.com/kmemgate/kmemgate/reports"
)

// Heat is what every cell did in every night: the page's map.
type Heat struct {
	Nights []Night   `json:"nights"`
	Rows   []HeatRow `json:"rows"`
	// Cut is how many rows were left out; those with trouble stay.
	Cut int `json:"cut,omitempty"`

	trends []Trend // of all rows, also of those left out
}

// HeatRow is one scenario on one kernel line and architecture.
type HeatRow struct {
	Scenario string     `json:"scenario"`
	Line     string     `json:"line"`
	Arch     string     `json:"arch"`
	Nights   []HeatCell `json:"nights"` // one for each of Heat.Nights
}

// HeatCell is the runs of one row in one night. Verdict is the worst of them
// ("" where there was no run), the numbers are those of the worst run.
type HeatCell struct {
	Verdict reports.Verdict `json:"verdict,omitempty"`
	Runs    int             `json:"runs"`
	Orphans int64           `json:"orphans"`
	Bytes   int64           `json:"bytes"`
	Seconds float64         `json:"seconds"` // the longest run
	Reason  string          `json:"reason,omitempty"`
}

// maxRows bounds the page: more lines than a reader scrolls through.
const maxRows = 1000

// Heat gathers the map of the last nights (0: DefaultNights).
func (h *History) Heat(ctx context.Context, q Query) (Heat, error) {
	nights, err := h.Nights(ctx, cmp.Or(q.Nights, DefaultNights))
	if err != nil {
		return Heat{}, err
	}
	heat := Heat{Nights: nights}
	rows := map[cell]*HeatRow{}
	for i, n := range nights {
		err := h.heatOf(ctx, n, func(c cell, hc HeatCell) {
			if q.Scenario != "" && q.Scenario != c.Scenario || q.Line != "" && q.Line != c.Line {
				return
			}
			if rows[c] == nil {
				rows[c] = &HeatRow{c.Scenario, c.Line, c.Arch, make([]HeatCell, len(nights))}
			}
			merge(&rows[c].Nights[i], hc)
		})
		if err != nil {
			return Heat{}, err
		}
	}
	for _, r := range rows {
		heat.Rows = append(heat.Rows, *r)
	}
	heat.trends = heat.sumUp()
	heat.sort()
	return heat, nil
}

// heatOf reads one night, one row for every cell and verdict.
func (h *History) heatOf(ctx context.Context, n Night, each func(cell, HeatCell)) error {
	type row struct {
		cell
		HeatCell
	}
	rows, err := list(ctx, h.db, func(rows *sql.Rows) (r row, err error) {
		return r, rows.Scan(&r.id, &r.Scenario, &r.Line, &r.Arch, &r.Verdict, &r.Runs, &r.Orphans, &r.Bytes, &r.Seconds, &r.Reason)
	}, `SELECT c.id, c.scenario, c.line, c.arch, r.verdict, count(*), max(r.orphans), max(r.bytes), max(r.seconds), max(r.reason)
		FROM runs r JOIN cells c ON c.id = r.cell WHERE r.night = ? GROUP BY r.cell, r.verdict`, n.id)
	for _, r := range rows {
		each(r.cell, r.HeatCell)
	}
	return err
}

// severity orders verdicts for the eye: what fails the gate is the worst.
func severity(v reports.Verdict) int {
	return slices.Index([]reports.Verdict{"", reports.Skipped, reports.Clean, reports.None, reports.Leaks}, v)
}

func merge(into *HeatCell, c HeatCell) {
	into.Runs += c.Runs
	if severity(c.Verdict) > severity(into.Verdict) {
		into.Verdict, into.Reason = c.Verdict, c.Reason
	}
	into.Orphans, into.Bytes, into.Seconds = max(into.Orphans, c.Orphans), max(into.Bytes, c.Bytes), max(into.Seconds, c.Seconds)
}

// sort puts rows by name; where there are too many, those go that were always
// clean.
func (h *Heat) sort() {
	byName := func(a, b HeatRow) int {
		return cmp.Or(cmp.Compare(a.Scenario, b.Scenario), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Arch, b.Arch))
	}
	if h.Cut = max(0, len(h.Rows)-maxRows); h.Cut > 0 {
		slices.SortFunc(h.Rows, func(a, b HeatRow) int { return cmp.Or(b.worst()-a.worst(), byName(a, b)) })
		h.Rows = h.Rows[:maxRows]
	}
	slices.SortFunc(h.Rows, byName)
}

func (r HeatRow) worst() (worst int) {
	for _, c := range r.Nights {
		worst = max(worst, severity(c.Verdict))
	}
	return worst
}

// Trend is one number a night.
type Trend struct {
	Name   string    `json:"name"`
	Unit   string    `json:"unit"`
	Values []float64 `json:"values"` // one for each of Heat.Nights
}

// Trends are the bytes orphaned and the time taken, all rows together.
func (h Heat) Trends() []Trend { return h.trends }

func (h Heat) sumUp() []Trend {
	bytes := Trend{"orphaned bytes", "bytes", make([]float64, len(h.Nights))}
	seconds := Trend{"time, all scenarios", "seconds", make([]float64, len(h.Nights))}
	for _, r := range h.Rows {
		for i, c := range r.Nights {
			bytes.Values[i] += float64(c.Bytes)
			seconds.Values[i] += c.Seconds
		}
	}
	return []Trend{bytes, seconds}
}
