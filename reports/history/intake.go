package history

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/kmemgate/kmemgate/reports"
)

// Intake says how a report is taken in; the zero value works.
type Intake struct {
	// Night labels the round that the report belongs to. Empty: NightOf(Now).
	Night string
	// Now is the time of intake, and of runs that do not tell when they
	// began. Zero: the present.
	Now time.Time
}

// Added tells what an intake brought.
type Added struct {
	Night      string `json:"night"`
	Runs       int    `json:"runs"`
	Duplicates int    `json:"duplicates"` // runs that were there already
}

// Add takes in a report, all of it or nothing. A run counts once however often
// and in whatever report it comes: it is known by the hash of its JSON, without
// the names of folders.
func (h *History) Add(ctx context.Context, r reports.Report, in Intake) (Added, error) {
	if in.Now.IsZero() {
		in.Now = time.Now()
	}
	if in.Night == "" {
		in.Night = NightOf(in.Now)
	}
	if err := checkReport(r, in); err != nil {
		return Added{}, fmt.Errorf("%w: %w", ErrReport, err)
	}
	tx, err := h.db.BeginTx(ctx, nil)
	if err != nil {
		return Added{}, fmt.Errorf("add: %w", err)
	}
	defer tx.Rollback()
	w := &writer{ctx: ctx, tx: tx, statements: map[string]*sql.Stmt{}, ids: map[string]int64{}}
	added := Added{Night: in.Night}
	for i, run := range r.Runs {
		fresh, err := w.run(run, in)
		if err != nil {
			return Added{}, fmt.Errorf("add run %d (%s %s %s): %w", i+1, name(run.Kernel), name(run.Arch), name(run.Scenario), err)
		}
		if fresh {
			added.Runs++
		} else {
			added.Duplicates++
		}
	}
	if err := tx.Commit(); err != nil {
		return Added{}, fmt.Errorf("add: %w", err)
	}
	return added, nil
}

func checkReport(r reports.Report, in Intake) error {
	if r.Schema != reports.Schema {
		return fmt.Errorf("schema %.60q: want %q", r.Schema, reports.Schema)
	}
	if len(r.Runs) > maxRuns {
		return fmt.Errorf("%d runs, limit %d", len(r.Runs), maxRuns)
	}
	for i, run := range r.Runs {
		if err := checkRun(run); err != nil {
			return fmt.Errorf("run %d: %w", i+1, err)
		}
	}
	return checkLabel(in.Night)
}

// writer is one intake under way: a transaction with its prepared statements
// and the ids of the names it has met.
type writer struct {
	ctx        context.Context
	tx         *sql.Tx
	statements map[string]*sql.Stmt
	ids        map[string]int64
}

// run writes one run with all that belongs to it; false: it was there.
func (w *writer) run(r reports.Run, in Intake) (fresh bool, err error) {
	hash, err := runHash(r)
	if err != nil {
		return false, err
	}
	if id, err := w.number("SELECT id FROM runs WHERE hash = ?", hash); err != nil || id != 0 {
		return false, err
	}
	at, night, err := w.night(in, started(r, in.Now))
	if err != nil {
		return false, err
	}
	cell, err := w.cell(r)
	if err != nil {
		return false, err
	}
	build, err := w.build(r)
	if err != nil {
		return false, err
	}
	seen := sightings(r)
	orphans, bytes := total(seen)
	run, err := w.insert(`INSERT INTO runs (hash, cell, build, night, at, verdict, reason, detail, seconds, orphans, bytes, reproduce)
		VALUES (?,?,?,?,?,?,?,?,?,?,?,?)`, hash, cell, build, night, at, string(r.Verdict), name(r.Reason), line(r.Detail, maxText),
		seconds(r.Timings), orphans, bytes, line(r.Reproduce, maxText))
	if err != nil {
		return false, err
	}
	for _, s := range seen {
		if err := w.sighting(run, cell, at, r.Verdict, s); err != nil {
			return false, err
		}
	}
	return true, w.timings(run, r.Timings)
}

// runHash leaves out what depends on where a report lies.
func runHash(r reports.Run) ([]byte, error) {
	r.Dir, r.Reproduce = "", ""
	text, err := json.Marshal(r)
	sum := sha256.Sum256(text)
	return sum[:], err
}

func started(r reports.Run, now time.Time) time.Time {
	if t, err := time.Parse(time.RFC3339, r.Started); err == nil && t.Year() >= 2000 && t.Year() < 2200 {
		return t
	}
	return now
}

// night finds or makes the night and returns the run's time in it: a label
// with a date is stronger than a clock, so that old reports can be taken in
// at any time.
func (w *writer) night(in Intake, t time.Time) (at, id int64, err error) {
	at = t.UnixMilli()
	began := at
	if noon, ok := dated(in.Night); ok {
		began = noon.UnixMilli()
		at = min(max(at, began), began+24*time.Hour.Milliseconds()-1)
	}
	id, err = w.id("SELECT id FROM nights WHERE label = ?", "INSERT INTO nights (label, at) VALUES (?, ?)", []any{in.Night}, began)
	if err == nil {
		_, err = w.exec("UPDATE nights SET at = ?1 WHERE id = ?2 AND at > ?1", began, id)
	}
	return at, id, err
}

func (w *writer) cell(r reports.Run) (int64, error) {
	return w.id("SELECT id FROM cells WHERE scenario = ? AND line = ? AND arch = ?",
		"INSERT INTO cells (scenario, line, arch) VALUES (?, ?, ?)", []any{name(r.Scenario), Line(name(r.Kernel)), name(r.Arch)})
}

func (w *writer) build(r reports.Run) (int64, error) {
	var b reports.Built
	if r.Built != nil {
		b = *r.Built
	}
	kernel := name(r.Kernel)
	return w.id("SELECT id FROM builds WHERE kernel = ? AND arch = ? AND revision = ? AND config = ? AND toolchain = ? AND content = ?",
		"INSERT INTO builds (kernel, arch, revision, config, toolchain, content, version) VALUES (?, ?, ?, ?, ?, ?, ?)",
		[]any{kernel, name(r.Arch), name(b.Commit), name(b.Config), name(b.Toolchain), name(b.Content)}, versionKey(kernel))
}

func (w *writer) timings(run int64, timings map[string]float64) error {
	for phase, s := range timings {
		id, err := w.id("SELECT id FROM phases WHERE name = ?", "INSERT INTO phases (name) VALUES (?)", []any{name(phase)})
		if err != nil {
			return err
		}
		if _, err := w.exec("INSERT OR IGNORE INTO timings (run, phase, seconds) VALUES (?, ?, ?)", run, id, s); err != nil {
			return err
		}
	}
	return nil
}

// seconds is the wall time of a run: "total", or the sum of its phases.
func seconds(timings map[string]float64) (sum float64) {
	if total, ok := timings["total"]; ok {
		return total
	}
	for _, s := range timings {
		sum += s
	}
	return sum
}

// id finds the row with these keys, or inserts it with the keys and more.
func (w *writer) id(find, insert string, keys []any, more ...any) (int64, error) {
	known := fmt.Sprintf("%s%q", find, keys)
	if id := w.ids[known]; id != 0 {
		return id, nil
	}
	id, err := w.number(find, keys...)
	if err == nil && id == 0 {
		id, err = w.insert(insert, append(append([]any{}, keys...), more...)...)
	}
	if err == nil {
		w.ids[known] = id
	}
	return id, err
}

// number reads one number; 0 where there is no row.
func (w *writer) number(query string, args ...any) (n int64, err error) {
	s, err := w.prepare(query)
	if err != nil {
		return 0, err
	}
	if err = s.QueryRowContext(w.ctx, args...).Scan(&n); errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return n, err
}

func (w *writer) insert(query string, args ...any) (int64, error) {
	res, err := w.exec(query, args...)
	if err != nil {
		return 0, err
	}
	return res.LastInsertId()
}

func (w *writer) exec(query string, args ...any) (sql.Result, error) {
	s, err := w.prepare(query)
	if err != nil {
		return nil, err
	}
	return s.ExecContext(w.ctx, args...)
}

// prepare compiles a statement once; the transaction's end closes it.
func (w *writer) prepare(query string) (*sql.Stmt, error) {
	if s := w.statements[query]; s != nil {
		return s, nil
	}
	s, err := w.tx.PrepareContext(w.ctx, query)
	if err == nil {
		w.statements[query] = s
	}
	return s, err
}
