package kernels

import (
	"context"
	"fmt"
	"time"

	"github.com/gofrs/flock"
)

// lockPoll is how often a waiting process looks whether the lock is free.
const lockPoll = 100 * time.Millisecond

// entryLock is a held lock of one cache entry. Lock files are never removed:
// a process that waits on a removed file would hold a lock nobody else sees.
type entryLock struct{ file *flock.Flock }

func (l entryLock) release() { _ = l.file.Unlock() }

// share turns the exclusive lock into a shared one, or reports that another
// process got in between.
func (l entryLock) share() bool {
	ok, err := l.file.TryRLock()
	return ok && err == nil
}

// lockFor takes the exclusive lock of an entry that has to be made.
func (c *Cache) lockFor(ctx context.Context, dir, doing string) (entryLock, error) {
	f := flock.New(dir+".lock", flock.SetPermissions(0o644))
	if err := waitLock(ctx, f.TryLock, c.waiting(dir, doing)); err != nil {
		return entryLock{}, hostErr(err, "cache: lock %s", c.short(dir))
	}
	return entryLock{f}, nil
}

func sharedLock(ctx context.Context, dir string, waiting func()) (entryLock, error) {
	f := flock.New(dir+".lock", flock.SetPermissions(0o644))
	return entryLock{f}, waitLock(ctx, f.TryRLock, waiting)
}

// waitLock takes a lock, and calls waiting once if it is not free at once.
func waitLock(ctx context.Context, try func() (bool, error), waiting func()) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for told := false; ; told = true {
		if ok, err := try(); ok || err != nil {
			return err
		}
		if !told {
			waiting()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lockPoll):
		}
	}
}

// waiting returns what tells the user, on one line, why nothing happens.
func (c *Cache) waiting(dir, doing string) func() {
	if doing == "" {
		doing = "makes it"
	}
	return func() { c.logf("cache: waiting for %s: another process %s", c.short(dir), doing) }
}

// tryExclusive takes the lock of an entry nobody uses. It never waits.
func tryExclusive(dir string) (entryLock, bool, error) {
	f := flock.New(dir+".lock", flock.SetPermissions(0o644))
	ok, err := f.TryLock()
	if err != nil {
		return entryLock{}, false, fmt.Errorf("lock %s: %w", dir, err)
	}
	return entryLock{f}, ok, nil
}
