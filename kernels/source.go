package kernels

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/google/renameio/v2"
)

// source is a kernel's source tree at hand.
type source struct {
	dir     string // the tree
	key     string // content address, part of a kernel's
	version string // from its Makefile, e.g. "6.12.117"
	origin  string // in words
	// local says that the user edits the tree: builds of it are incremental.
	local   bool
	content content // of a local tree
	// entry is its place in the cache; empty for a local tree.
	entry   string
	release func()
}

// candidate is a source that could be had.
type candidate struct {
	version version
	key     string
	origin  string
	fetch   func(ctx context.Context, tree string) error // fills an empty directory
}

// provider is a place where sources of a version or series come from.
type provider interface {
	// find returns the newest source of a series, an unknownError if there is none.
	find(ctx context.Context, series version) (*candidate, error)
	name() string
}

// sourceInfo is source.json, beside the tree in its cache entry.
type sourceInfo struct {
	Version string `json:"version"`
	Origin  string `json:"origin"`
}

const (
	sourceTree = "linux"       // the tree's folder in its entry
	sourceJSON = "source.json" // sourceInfo
)

// hexSum is a sha256 in hexadecimal.
var hexSum = regexp.MustCompile(`^[0-9a-f]{64}$`)

// resolve finds the source that --kernel names, fetching it where it must,
// and says on one line which it took.
func (b *Builder) resolve(ctx context.Context, name string) (*source, error) {
	switch {
	case strings.Contains(name, "://"):
		c, err := b.urlCandidate(name)
		if err != nil {
			return nil, err
		}
		return b.take(ctx, c)
	case strings.HasPrefix(name, "debian:"):
		return b.resolveVersion(ctx, name, strings.TrimPrefix(name, "debian:"), []provider{b.debian()})
	case versionPattern.MatchString(name):
		return b.resolveVersion(ctx, name, name, []provider{b.kernelOrg(), b.debian()})
	}
	return b.localSource(ctx, name)
}

// CheckName tells whether --kernel NAME can name a kernel at all, without the
// network: what the command rejects with exit status 2 before it starts.
func CheckName(name string) error {
	switch {
	case strings.Contains(name, "://"):
		_, _, err := splitURL(name)
		return err
	case strings.HasPrefix(name, "debian:"):
		if _, err := parseVersion(strings.TrimPrefix(name, "debian:")); err != nil {
			return usageErr("a series or version, as in debian:6.12", "kernel %q: %w", name, err)
		}
		return nil
	case versionPattern.MatchString(name):
		return nil
	}
	_, err := localVersion(name)
	return err
}

func (b *Builder) resolveVersion(ctx context.Context, name, series string, from []provider) (*source, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	want, err := parseVersion(series)
	if err != nil {
		return nil, err
	}
	if s := b.cachedSource(ctx, want, len(from) == 1); s != nil {
		b.logf("kernel %s: %s from the cache (%s)", name, s.version, s.origin)
		return s, nil
	}
	var missed []miss
	for _, p := range from {
		c, err := p.find(ctx, want)
		if err == nil {
			b.logf("kernel %s: %s from %s", name, c.version, c.origin)
			return b.take(ctx, c)
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("kernel %s: %w", name, ctx.Err())
		}
		var tampered *signatureError
		if errors.As(err, &tampered) { // another provider must not paper over it
			return nil, &Error{Fault: FaultHost, Err: fmt.Errorf("kernel %s: %w", name, err), Cure: cureSignature}
		}
		missed = append(missed, miss{p.name(), err})
	}
	return nil, notFound(name, want, missed)
}

// cachedSource is the newest source of a series in the cache, nil if none.
func (b *Builder) cachedSource(ctx context.Context, want version, debianOnly bool) *source {
	entries, err := b.cache().list(KindSources)
	if err != nil {
		return nil
	}
	var best *CacheEntry
	var bestInfo sourceInfo
	var bestVersion version
	for _, e := range entries {
		info, v, ok := cachedInfo(e)
		if !ok || !v.in(want) || debianOnly && !strings.HasPrefix(info.Origin, "Debian") {
			continue
		}
		if best == nil || bestVersion.less(v) {
			best, bestInfo, bestVersion = &e, info, v
		}
	}
	if best == nil {
		return nil
	}
	release, ok := b.cache().hold(ctx, best.Path)
	if !ok {
		return nil
	}
	return cacheSource(best.Path, best.Key, bestInfo, release)
}

func cachedInfo(e CacheEntry) (info sourceInfo, v version, ok bool) {
	if e.Kind != KindSources || !e.Complete {
		return info, nil, false
	}
	info, err := readSourceInfo(e.Path)
	if err != nil {
		return info, nil, false
	}
	v, err = parseVersion(info.Version)
	return info, v, err == nil // a release candidate is no newest of a series
}

func cacheSource(dir, key string, info sourceInfo, release func()) *source {
	return &source{
		dir: filepath.Join(dir, sourceTree), key: key, version: info.Version, origin: info.Origin,
		entry: dir, release: release,
	}
}

// take brings a candidate into the cache, if it is not there, and holds it.
func (b *Builder) take(ctx context.Context, c *candidate) (*source, error) {
	r := recipe{sizesOnly: true, doing: "fetches it"}
	r.make = func(ctx context.Context, dir string) error {
		tree := filepath.Join(dir, sourceTree)
		if err := os.Mkdir(tree, 0o755); err != nil {
			return hostErr(err, "source %s", c.origin)
		}
		if err := c.fetch(ctx, tree); err != nil {
			return err
		}
		return writeSourceInfo(dir, tree, c.origin)
	}
	dir, release, err := b.cache().entry(ctx, KindSources, c.key, r)
	if err != nil {
		return nil, err
	}
	info, err := readSourceInfo(dir)
	if err != nil {
		release()
		return nil, hostErr(err, "source %s", c.origin)
	}
	return cacheSource(dir, c.key, info, release), nil
}

func readSourceInfo(dir string) (info sourceInfo, err error) {
	text, err := os.ReadFile(filepath.Join(dir, sourceJSON))
	if err != nil {
		return info, err
	}
	if err := json.Unmarshal(text, &info); err != nil {
		return info, fmt.Errorf("%s: %w", filepath.Join(dir, sourceJSON), err)
	}
	return info, nil
}

func writeSourceInfo(dir, tree, origin string) error {
	v, err := treeVersion(tree)
	if err != nil {
		return &Error{Fault: FaultKernel, Err: fmt.Errorf("source %s: %w", origin, err)}
	}
	text, err := json.Marshal(sourceInfo{Version: v, Origin: origin})
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(filepath.Join(dir, sourceJSON), text, 0o644); err != nil {
		return hostErr(err, "source %s", origin)
	}
	return nil
}

// recheck makes sure that a source is undamaged before it is built from: a
// look at 80,000 files, which a run that finds its kernel built does not need.
func (b *Builder) recheck(ctx context.Context, name string, s *source) (*source, error) {
	if s.entry == "" {
		return s, nil
	}
	err := checkManifest(s.entry, false)
	if err == nil {
		return s, nil
	}
	b.logf("source %s is damaged (%v): fetching it again", s.key, err)
	s.release()
	gone, err := removeUnused(s.entry)
	if err == nil && !gone {
		err = errors.New("it is damaged, and another process uses it")
	}
	if err != nil {
		return nil, hostErr(err, "source %s", s.key)
	}
	return b.resolve(ctx, name)
}
