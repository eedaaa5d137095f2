package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// migratePoll is how often a migration is looked at; it takes some 50 ms.
const migratePoll = 2 * time.Millisecond

// save stops the guest and writes all its state but the RAM to a file. The
// RAM is in a file of its own already.
func (g *guest) save(ctx context.Context, path string) error {
	if err := g.qmp.Do(ctx, "stop", nil, nil); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := g.hand(ctx, file); err != nil {
		return err
	}
	if err := g.qmp.Do(ctx, "migrate", map[string]string{"uri": "fd:state"}, nil); err != nil {
		return err
	}
	return g.migrated(ctx)
}

// restore starts QEMU with a stopped clone.
func (h *Host) restore(ctx context.Context, dir *tempDir, p plan, state string, job []byte) (*guest, error) {
	file, err := os.Open(state)
	if err != nil {
		dir.remove()
		return nil, hostError("", "restore: %w", restoreError{err})
	}
	defer file.Close()
	if err := writeJob(p.job, job); err != nil {
		dir.remove()
		return nil, err
	}
	g, err := h.start(ctx, dir, p)
	if err != nil {
		dir.remove()
		return nil, err
	}
	if err := g.incoming(ctx, file); err != nil {
		said := g.stderr.lastLine()
		g.Close()
		return nil, hostError("", "restore: %w%s", restoreError{err}, said)
	}
	return g, nil
}

func (g *guest) incoming(ctx context.Context, state *os.File) error {
	if err := g.hand(ctx, state); err != nil {
		return err
	}
	if err := g.qmp.Do(ctx, "migrate-incoming", map[string]string{"uri": "fd:state"}, nil); err != nil {
		return err
	}
	return g.migrated(ctx)
}

// hand passes the state's file to QEMU, which may not open files or start
// programs by itself (-sandbox), and leaves the RAM out of it.
func (g *guest) hand(ctx context.Context, file *os.File) error {
	capability := map[string]any{"capability": "x-ignore-shared", "state": true}
	if err := g.qmp.Do(ctx, "migrate-set-capabilities", map[string]any{"capabilities": []any{capability}}, nil); err != nil {
		return err
	}
	return g.qmp.Do(ctx, "getfd", map[string]string{"fdname": "state"}, nil, file)
}

// migrated waits for the end of a migration, out or in.
func (g *guest) migrated(ctx context.Context) error {
	for {
		var info struct {
			Status string `json:"status"`
			Error  string `json:"error-desc"`
		}
		if err := g.qmp.Do(ctx, "query-migrate", nil, &info); err != nil {
			return err
		}
		switch info.Status {
		case "completed":
			return nil
		case "failed", "cancelled":
			return errors.New("migration " + info.Status + ": " + info.Error)
		}
		select {
		case <-time.After(migratePoll):
		case <-ctx.Done():
			return fmt.Errorf("migration: %w", ctx.Err())
		}
	}
}
