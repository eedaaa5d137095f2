package history

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/kmemgate/kmemgate/reports"
)

// course reads the runs of every cell that saw the leak, and judges.
func (h *History) course(ctx context.Context, own []track, since int64, l *Leak) error {
	var courses []course
	var gone int64
	for _, t := range own {
		if t.lastAt < since {
			continue
		}
		runs, err := h.observations(ctx, t, since)
		if err != nil {
			return err
		}
		seen := 0
		for _, o := range runs {
			if o.present() {
				seen++
			}
		}
		c := judge(runs, int(t.seen)-seen)
		courses = append(courses, c)
		l.Runs += len(runs)
		l.Seen += seen
		if !slices.Contains(l.Arches, t.arch) {
			l.Arches = append(l.Arches, t.arch)
		}
		if c.last != nil && t.lastRun == c.last.run {
			l.Count, l.Bytes = c.last.count, c.last.bytes
		}
		if c.gone != nil {
			gone = max(gone, c.gone.run)
		}
	}
	slices.Sort(l.Arches)
	l.State = join(courses)
	if gone != 0 && (l.State == Fixed || l.State == Gone) {
		s, err := h.sighting(ctx, gone)
		if err != nil {
			return err
		}
		l.FixedIn = &s
	}
	l.Why = why(*l, slices.ContainsFunc(courses, func(c course) bool { return c.mixed }))
	return nil
}

const selectObservations = `SELECT r.id, r.night, r.build, b.content != '', r.at, coalesce(s.status, ''), coalesce(s.count, 0), coalesce(s.bytes, 0)
	FROM runs r JOIN builds b ON b.id = r.build LEFT JOIN sightings s ON s.run = r.id AND s.signature = ?
	WHERE r.cell = ? AND r.at >= ? AND r.verdict IN ('clean', 'leaks') ORDER BY r.at, r.id`

func (h *History) observations(ctx context.Context, t track, since int64) ([]observation, error) {
	return list(ctx, h.db, func(rows *sql.Rows) (o observation, err error) {
		var status string
		err = rows.Scan(&o.run, &o.night, &o.build, &o.known, &o.at, &status, &o.count, &o.bytes)
		o.status = reports.Status(status)
		return o, err
	}, selectObservations, t.signature, t.cell, since)
}

// why says in a sentence how the state came about.
func why(l Leak, mixed bool) string {
	seen := fmt.Sprintf("%d of %d runs saw it", l.Seen, l.Runs)
	switch l.State {
	case Regression:
		if l.LastClean == nil {
			return seen + "; no run on this kernel line before it to compare with"
		}
		return fmt.Sprintf("%s; the run before it, on %s in night %s, did not", seen, l.LastClean.Kernel, l.LastClean.Night)
	case Unconfirmed:
		return "one run saw it; it counts when a second one does"
	case Flaky:
		if mixed {
			return seen + ": it comes and goes on the same build"
		}
		return seen + ": it comes and goes, never twice in a row"
	case Accepted:
		return seen + "; it is in the baseline or suppressed"
	case Fixed:
		return fmt.Sprintf("%s; it is gone since %s, night %s", seen, l.FixedIn.Kernel, l.FixedIn.Night)
	}
	return seen + "; it was never confirmed and is gone"
}
