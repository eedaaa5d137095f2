package history

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
)

//go:embed schema/1.sql
var schema1 string

// migrations bring the file from version i to i+1. One that was released is
// never edited; a change of the schema is one more.
var migrations = []string{schema1}

// ErrForeign is a SQLite file of somebody else's, or a newer kmemgate's.
var ErrForeign = errors.New("not a history of this kmemgate")

// migrate runs the steps that the file has not seen, all in one transaction:
// two processes that meet an old file migrate it once, and one that is killed
// half-way leaves it as it was.
func migrate(ctx context.Context, db *sql.DB, steps []string) error {
	have, err := version(ctx, db, steps)
	if err != nil || have == len(steps) {
		return err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	defer tx.Rollback()
	// Again, under the lock: another process may have been faster.
	if have, err = version(ctx, tx, steps); err != nil {
		return err
	}
	for ; have < len(steps); have++ {
		if _, err := tx.ExecContext(ctx, steps[have]); err != nil {
			return fmt.Errorf("migrate to version %d: %w", have+1, err)
		}
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", len(steps))); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return tx.Commit()
}

type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func version(ctx context.Context, q querier, steps []string) (int, error) {
	var have, tables int
	err := q.QueryRowContext(ctx, "SELECT (SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM sqlite_schema)").Scan(&have, &tables)
	switch {
	case err != nil:
		return 0, fmt.Errorf("read: %w", err)
	case have == 0 && tables > 0:
		return 0, fmt.Errorf("%w: it has %d tables and no version", ErrForeign, tables)
	case have > len(steps):
		return 0, fmt.Errorf("%w: it has version %d, this kmemgate knows up to %d: use a newer one", ErrForeign, have, len(steps))
	}
	return have, nil
}
