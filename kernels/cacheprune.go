package kernels

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"time"
)

// CacheEntry is one line of `kmemgate cache ls`.
type CacheEntry struct {
	Kind     string
	Key      string
	Path     string
	Bytes    int64     // disk space
	Used     time.Time // last taken into use
	Complete bool      // false: left behind by an interrupted make
}

// List returns all entries, the least recently used first.
func (c *Cache) List() ([]CacheEntry, error) { return c.list(kinds...) }

// list returns the entries of some kinds: what one costs is a look into all of it.
func (c *Cache) list(kinds ...string) ([]CacheEntry, error) {
	root, err := c.root()
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, kind := range kinds {
		found, err := filepath.Glob(filepath.Join(escapeGlob(root), kind, "*"))
		if err != nil {
			return nil, fmt.Errorf("cache %s: %w", root, err)
		}
		dirs = append(dirs, found...)
	}
	var entries []CacheEntry
	for _, dir := range dirs {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() {
			continue // locks, manifests, and what went meanwhile
		}
		entries = append(entries, statEntry(dir, info))
	}
	sort.Slice(entries, func(i, j int) bool { return entries[i].Used.Before(entries[j].Used) })
	return entries, nil
}

func statEntry(dir string, info fs.FileInfo) CacheEntry {
	e := CacheEntry{Kind: filepath.Base(filepath.Dir(dir)), Key: filepath.Base(dir), Path: dir, Used: info.ModTime()}
	if stamp, err := os.Stat(okFile(dir)); err == nil {
		e.Used, e.Complete = stamp.ModTime(), true
		e.Bytes = manifestBytes(dir)
	}
	if e.Bytes == 0 {
		e.Bytes = treeSpace(dir)
	}
	return e
}

// Prune removes the least recently used entries until the cache holds at most
// limit bytes; 0 empties it. Entries in use stay. It returns what went.
func (c *Cache) Prune(limit int64) ([]CacheEntry, error) {
	entries, err := c.List()
	if err != nil {
		return nil, err
	}
	return c.shrink(entries, limit, "")
}

// PruneUnused removes the entries that were last taken into use before a time.
// Entries in use stay. It returns what went.
func (c *Cache) PruneUnused(before time.Time) ([]CacheEntry, error) {
	entries, err := c.List()
	if err != nil {
		return nil, err
	}
	recent := sort.Search(len(entries), func(i int) bool { return !entries[i].Used.Before(before) })
	return c.shrink(entries[:recent], 0, "")
}

// evict keeps the cache under its limit after keep was made. That an old
// entry cannot be removed is no reason to fail the run that made a new one.
func (c *Cache) evict(keep string) {
	limit := c.Limit
	if limit == 0 {
		limit = DefaultLimit
	}
	entries, err := c.List()
	if limit < 0 || err != nil {
		return
	}
	gone, err := c.shrink(entries, limit, keep)
	for _, e := range gone {
		c.logf("cache: over %d GB: removed %s/%s, last used %s", limit>>30, e.Kind, e.Key, e.Used.Format(time.DateOnly))
	}
	if err != nil {
		c.logf("cache: %v", err)
	}
}

func (c *Cache) shrink(entries []CacheEntry, limit int64, keep string) ([]CacheEntry, error) {
	var total int64
	for _, e := range entries {
		total += e.Bytes
	}
	var gone []CacheEntry
	var errs []error
	for _, e := range entries {
		if total <= limit {
			break
		}
		if e.Path == keep {
			continue
		}
		ok, err := removeUnused(e.Path)
		errs = append(errs, err)
		if ok {
			total -= e.Bytes
			gone = append(gone, e)
		}
	}
	return gone, errors.Join(errs...)
}

// removeUnused removes an entry unless somebody holds its lock.
func removeUnused(dir string) (bool, error) {
	base := strings.TrimSuffix(dir, ".tmp") // the lock of what is being made
	lock, free, err := tryExclusive(base)
	if err != nil || !free {
		return false, err
	}
	defer lock.release()
	if base != dir {
		return true, os.RemoveAll(dir)
	}
	return true, removeEntry(dir)
}

// removeEntry removes the mark of completeness first: a half removed entry
// must not look whole.
func removeEntry(dir string) error {
	if err := os.Remove(okFile(dir)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// Out of the way first: a QEMU that is started on a template makes the file of
	// its memory where that is missing, and a directory in which somebody makes
	// files cannot be removed.
	away := dir + ".tmp"
	if err := os.RemoveAll(away); err != nil {
		return err
	}
	if err := os.Rename(dir, away); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return errors.Join(os.RemoveAll(away), os.RemoveAll(dir+".log"))
}

func manifestBytes(dir string) int64 {
	f, err := os.Open(okFile(dir))
	if err != nil {
		return 0
	}
	defer f.Close()
	n, _ := manifestHead(bufio.NewScanner(f)) // unreadable: counted by walking
	return n
}

// diskSpace is what a file really takes: a guest's RAM file is mostly holes.
func diskSpace(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512 // stat(2): st_blocks is in units of 512 bytes
	}
	return info.Size()
}

func treeSpace(dir string) (bytes int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // going away under our feet: it takes no space
		}
		if info, err := d.Info(); err == nil {
			bytes += diskSpace(info)
		}
		return nil
	})
	return bytes
}

func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}
