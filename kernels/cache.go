package kernels

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

// The kinds of cache entries, one folder each.
const (
	KindSources   = "sources"   // unpacked kernel sources
	KindKernels   = "kernels"   // build trees of kernels
	KindModules   = "modules"   // external modules, by source and kernel
	KindTemplates = "templates" // saved guests
	KindControls  = "controls"  // what clones of a template report without a module
	KindUserland  = "userland"  // the agent and u-root's commands
	KindLists     = "lists"     // package lists of other suites of Debian
)

var kinds = []string{KindSources, KindKernels, KindModules, KindTemplates, KindControls, KindUserland, KindLists}

// DefaultLimit is the size the cache is kept under: three unpacked sources
// (1.6 GB each), a dozen kernels (0.3 GB each) and room for what goes with them.
const DefaultLimit = 24 << 30

// Cache keeps what is expensive to make: one directory per entry,
// DIR/KIND/KEY, where KEY names the content. Beside it lie KEY.ok, the
// manifest that says the entry is complete and what it must hold, and
// KEY.lock. Processes that share a cache wait for each other per entry. The
// zero value is the user's cache.
type Cache struct {
	// Dir is the cache's root; empty means $XDG_CACHE_HOME/kmemgate.
	Dir string
	// Limit is the size in bytes beyond which the least recently used entries
	// go; 0 means DefaultLimit, a negative one means no limit.
	Limit int64
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log takes one line where a user waits or an entry is made again; nil
	// drops them.
	Log io.Writer

	mu     sync.Mutex
	newest time.Time // when an entry was last taken into use, once one was
}

// recipe tells how an entry is made and how it is checked.
type recipe struct {
	make func(ctx context.Context, dir string) error
	// inPlace makes the entry under its final name and keeps what an
	// interrupted make left, so that the next one goes on from there.
	inPlace bool
	// sizesOnly checks sizes, not content: for the 80,000 files of a source.
	sizesOnly bool
	// doing is what others are told they wait for.
	doing string
}

// Entry returns the directory of the entry kind/key. If it is missing or
// damaged, make fills a directory for it: an empty one under a temporary name,
// renamed when make returns nil, so that an entry is whole or not there. The
// directory must not be written to afterwards. Until release is called nobody
// evicts or remakes it; release may be called more than once.
//
// The signature is of basic types only, so that packages which must not import
// this one can take it as a func.
func (c *Cache) Entry(ctx context.Context, kind, key string, make func(ctx context.Context, dir string) error) (path string, release func(), err error) {
	return c.entry(ctx, kind, key, recipe{make: make})
}

func (c *Cache) entry(ctx context.Context, kind, key string, r recipe) (string, func(), error) {
	dir, err := c.entryDir(kind, key)
	if err != nil {
		return "", nil, err
	}
	if release, ok := c.open(ctx, dir, r); ok {
		return dir, release, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", nil, hostErr(err, "cache %s", c.Dir)
	}
	seen := markOf(dir)
	for {
		lock, err := c.lockToMake(ctx, dir, r.doing, seen)
		if errors.Is(err, errMade) {
			if release, ok := c.open(ctx, dir, r); ok {
				return dir, release, nil
			}
			seen = markOf(dir) // it was made, and is damaged or gone already
			continue
		}
		if err != nil {
			return "", nil, err
		}
		if err := whole(dir, r); err != nil { // else made while we waited
			if readable(dir) {
				c.logf("cache: %s is damaged (%v): making it again", c.short(dir), err)
			}
			if err := c.fill(ctx, dir, r); err != nil {
				lock.release()
				return "", nil, err
			}
			c.evict(dir)
		}
		// flock cannot turn an exclusive lock into a shared one in one step, so
		// look again: another process may have slipped in between.
		if lock.share() && readable(dir) {
			return dir, lock.release, nil
		}
		lock.release()
	}
}

// open takes a complete entry into use, without a wait and without writing:
// it serves a cache on a read-only disk too.
func (c *Cache) open(ctx context.Context, dir string, r recipe) (func(), bool) {
	if !readable(dir) {
		return nil, false
	}
	lock, err := sharedLock(ctx, dir, c.waiting(dir, r.doing))
	if errors.Is(err, syscall.EROFS) || errors.Is(err, os.ErrPermission) {
		return func() {}, whole(dir, r) == nil // nobody can evict it either
	}
	if err != nil {
		return nil, false
	}
	if whole(dir, r) != nil {
		lock.release()
		return nil, false
	}
	c.touch(dir)
	return lock.release, true
}

// whole tells what an entry lacks; nil means complete and undamaged.
func whole(dir string, r recipe) error { return checkManifest(dir, !r.sizesOnly) }

// fill makes the entry; the caller holds its exclusive lock.
func (c *Cache) fill(ctx context.Context, dir string, r recipe) error {
	work := dir + ".tmp"
	if r.inPlace {
		work = dir
	}
	// What a damaged entry holds cannot be trusted to build on.
	if !r.inPlace || readable(dir) {
		if err := removeEntry(dir); err != nil {
			return hostErr(err, "cache: clear %s", c.short(dir))
		}
	}
	if err := os.MkdirAll(work, 0o755); err != nil {
		return hostErr(err, "cache: make %s", c.short(dir))
	}
	if err := c.fillWork(ctx, dir, work, r); err != nil {
		if !r.inPlace {
			os.RemoveAll(work)
		}
		return err
	}
	return nil
}

func (c *Cache) fillWork(ctx context.Context, dir, work string, r recipe) error {
	if err := r.make(ctx, work); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("cache: make %s: %w", c.short(dir), err)
	}
	m, err := newManifest(work, !r.sizesOnly)
	if err != nil {
		return hostErr(err, "cache: sum up %s", c.short(dir))
	}
	if work != dir {
		if err := os.Rename(work, dir); err != nil {
			return hostErr(err, "cache: keep %s", c.short(dir))
		}
	}
	if err := m.write(dir); err != nil {
		return hostErr(err, "cache: keep %s", c.short(dir))
	}
	c.touch(dir)
	return nil
}

// safeKey is what a key may look like: a file name that no shell, make or
// kernel Makefile trips over.
var safeKey = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.+~-]*$`)

func (c *Cache) entryDir(kind, key string) (string, error) {
	if !safeKey.MatchString(kind) || !safeKey.MatchString(key) || hasSuffix(key, ".ok", ".lock", ".tmp") {
		return "", fmt.Errorf("cache: %q/%q cannot name an entry", kind, key)
	}
	root, err := c.root()
	if err != nil {
		return "", err
	}
	return filepath.Join(root, kind, key), nil
}

// Path returns where the entry kind/key lies, whether it is there or not.
func (c *Cache) Path(kind, key string) (string, error) { return c.entryDir(kind, key) }

func (c *Cache) root() (string, error) {
	if c.Dir != "" {
		return filepath.Abs(c.Dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", &Error{Fault: FaultHost, Err: fmt.Errorf("cache: %w", err), Cure: "set XDG_CACHE_HOME to a directory with 10 GB free"}
	}
	return filepath.Join(dir, "kmemgate"), nil
}

// short names an entry in a message: "kernels/6.12.117-x86_64-0123".
func (c *Cache) short(dir string) string {
	return filepath.Join(filepath.Base(filepath.Dir(dir)), filepath.Base(dir))
}

func (c *Cache) logf(format string, args ...any) {
	if c.Log != nil {
		fmt.Fprintf(c.Log, format+"\n", args...)
	}
}

func hasSuffix(s string, suffixes ...string) bool {
	for _, suffix := range suffixes {
		if strings.HasSuffix(s, suffix) {
			return true
		}
	}
	return false
}

// hold takes a complete entry into use without looking at its content.
func (c *Cache) hold(ctx context.Context, dir string) (func(), bool) {
	if !readable(dir) {
		return nil, false
	}
	lock, err := sharedLock(ctx, dir, c.waiting(dir, ""))
	if errors.Is(err, syscall.EROFS) || errors.Is(err, os.ErrPermission) {
		return func() {}, true
	}
	if err != nil {
		return nil, false
	}
	if !readable(dir) {
		lock.release()
		return nil, false
	}
	c.touch(dir)
	return lock.release, true
}
