// Package history remembers the reports of many nights in one SQLite file and
// answers what a night brought: which leaks are new, fixed or flaky, and what
// became slower. Intake and questions are safe with several processes on the
// file at once.
package history

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"time"

	"modernc.org/sqlite" // also registers the driver, "sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// History is an open history file.
type History struct {
	db *sql.DB
}

// pragmas of every connection. WAL lets readers go on while one writes, and
// the timeout lets a second writer wait its turn; a transaction takes the write
// lock when it begins, since one that turns from reader to writer half-way
// cannot wait (https://www.sqlite.org/isolation.html).
var pragmas = url.Values{
	"_pragma": {"busy_timeout(30000)", "journal_mode(WAL)", "synchronous(NORMAL)", "foreign_keys(1)", "cache_size(-65536)"},
	"_txlock": {"immediate"},
}

// Open opens the history at path, makes it where there is none, and brings an
// older one up to date. The file must lie on a local disk: SQLite's WAL does
// not work over a network.
func Open(ctx context.Context, path string) (*History, error) {
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+pragmas.Encode())
	if err != nil {
		return nil, fmt.Errorf("history %s: %w", path, err)
	}
	// One connection: the cache is shared, and a process writes by itself.
	db.SetMaxOpenConns(1)
	if err := patiently(ctx, func() error { return migrate(ctx, db, migrations) }); err != nil {
		db.Close()
		return nil, fmt.Errorf("history %s: %w", path, err)
	}
	return &History{db: db}, nil
}

// OpenExisting is Open for those who only ask: a wrong path is an error that
// is fs.ErrNotExist, not an empty history.
func OpenExisting(ctx context.Context, path string) (*History, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("history: %w", err)
	}
	if st.IsDir() {
		return nil, fmt.Errorf("history %s: is a directory: %w", path, fs.ErrInvalid)
	}
	return Open(ctx, path)
}

// Close closes the file.
func (h *History) Close() error { return h.db.Close() }

// patiently repeats f while the file is locked: the switch to WAL does not
// honour the busy timeout.
func patiently(ctx context.Context, f func() error) error {
	for wait := 5 * time.Millisecond; ; wait *= 2 {
		err := f()
		var locked *sqlite.Error
		if !errors.As(err, &locked) || locked.Code()&0xff != sqlite3.SQLITE_BUSY || wait > 10*time.Second {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}
