package history

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Night is a round of runs that belong together.
type Night struct {
	Label string    `json:"night"`
	Began time.Time `json:"began"`

	id int64
	at int64
}

// ErrNoNight says that the history holds no such night.
var ErrNoNight = errors.New("no such night in the history")

// NightOf is the label of the night that t belongs to: the date of the evening
// it began on. A night lasts from noon to noon UTC, so that one which crosses
// midnight is one night.
func NightOf(t time.Time) string {
	return t.UTC().Add(-12 * time.Hour).Format(time.DateOnly)
}

// dated reads the noon at which a night with a date for a label began.
func dated(label string) (time.Time, bool) {
	if len(label) < len(time.DateOnly) {
		return time.Time{}, false
	}
	day, err := time.Parse(time.DateOnly, label[:len(time.DateOnly)])
	return day.Add(12 * time.Hour), err == nil
}

// checkLabel accepts what can stand in a table, a file name and a shell.
func checkLabel(label string) error {
	if label == "" || len(label) > 64 {
		return fmt.Errorf("night %.70q: want 1 to 64 characters", label)
	}
	if i := strings.IndexFunc(label, func(r rune) bool { return r <= ' ' || r > '~' }); i >= 0 {
		return fmt.Errorf("night %q: want printable ASCII without spaces", label)
	}
	return nil
}

// Nights lists the last n nights, the oldest first.
func (h *History) Nights(ctx context.Context, n int) ([]Night, error) {
	return h.nights(ctx, "SELECT id, label, at FROM (SELECT * FROM nights ORDER BY at DESC, label DESC LIMIT ?) ORDER BY at, label", n)
}

// night finds one by label; "" is the last.
func (h *History) night(ctx context.Context, label string) (Night, error) {
	list, err := h.nights(ctx, "SELECT id, label, at FROM nights WHERE label = ?", label)
	if label == "" {
		list, err = h.Nights(ctx, 1)
	}
	switch {
	case err != nil:
		return Night{}, err
	case len(list) == 0 && label == "":
		return Night{}, fmt.Errorf("%w: it is empty", ErrNoNight)
	case len(list) == 0:
		return Night{}, fmt.Errorf("%w: %s", ErrNoNight, label)
	}
	return list[0], nil
}

// window is when the last n nights began; 0 where there are no more than n.
func (h *History) window(ctx context.Context, n int) (int64, error) {
	var at int64
	err := h.db.QueryRowContext(ctx, "SELECT at FROM nights ORDER BY at DESC, label DESC LIMIT 1 OFFSET ?", n-1).Scan(&at)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return at, err
}

func (h *History) nights(ctx context.Context, query string, arg any) ([]Night, error) {
	return list(ctx, h.db, func(rows *sql.Rows) (n Night, err error) {
		err = rows.Scan(&n.id, &n.Label, &n.at)
		n.Began = fromMillis(n.at)
		return n, err
	}, query, arg)
}

func fromMillis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// list collects the rows of a query.
func list[T any](ctx context.Context, db *sql.DB, scan func(*sql.Rows) (T, error), query string, args ...any) ([]T, error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("query: %w", err)
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("query: %w", err)
		}
		all = append(all, v)
	}
	return all, rows.Err()
}
