package kernels

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
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

// lockFor takes the exclusive lock of an entry.
func (c *Cache) lockFor(ctx context.Context, dir, doing string) (entryLock, error) {
	f := flock.New(dir+".lock", flock.SetPermissions(0o644))
	return c.lockBy(ctx, f, f.TryLock, dir, doing)
}

func (c *Cache) lockBy(ctx context.Context, f *flock.Flock, try func() (bool, error), dir, doing string) (entryLock, error) {
	err := waitLock(ctx, try, c.waiting(dir, doing))
	if errors.Is(err, errMade) {
		return entryLock{}, err
	}
	if err != nil {
		return entryLock{}, hostErr(err, "cache: lock %s", c.short(dir))
	}
	return entryLock{f}, nil
}

// errMade says that another process made the entry while we waited to.
var errMade = errors.New("made by another process")

// lockToMake is lockFor, except that it ends with errMade as soon as the entry is
// there, or is another than the damaged one that was seen: whoever made it may go
// on to use it for as long as it likes, and all that time holds the lock, shared.
func (c *Cache) lockToMake(ctx context.Context, dir, doing string, seen mark) (entryLock, error) {
	f := flock.New(dir+".lock", flock.SetPermissions(0o644))
	try := func() (bool, error) {
		ok, err := f.TryLock()
		if !ok && err == nil && seen.replaced(dir) {
			return false, errMade
		}
		return ok, err
	}
	return c.lockBy(ctx, f, try, dir, doing)
}

// mark is an entry's mark of completeness at a moment; nil inside: it had none.
type mark struct{ info fs.FileInfo }

func markOf(dir string) mark {
	info, err := os.Stat(okFile(dir))
	if err != nil {
		return mark{}
	}
	return mark{info}
}

// replaced tells whether the entry has another mark by now.
func (m mark) replaced(dir string) bool {
	now := markOf(dir)
	if m.info == nil || now.info == nil {
		return now.info != nil
	}
	return !os.SameFile(m.info, now.info) || !m.info.ModTime().Equal(now.info.ModTime())
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
