// Package faults_test breaks the machine under kmemgate, for real, and looks at
// what a user sees of it: the exit status, the message, and what is left behind.
// The table of docs/faults.md has a line for each row here.
package faults_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/kernels"
)

// The exit statuses, as README has them.
const (
	exitClean = 0
	exitLeaks = 1
	exitUsage = 2
	exitNone  = 3
)

// bench is what all rows share: the command, and a cache in which a run finds
// everything made.
type bench struct {
	dir    string
	binary string
	cache  string // its $XDG_CACHE_HOME
	goEnv  []string
}

// benchDir is made and removed by TestMain.
var benchDir string

func TestMain(m *testing.M) {
	// Short, and open to a user without privileges; not t.TempDir: it outlives a test.
	dir, err := os.MkdirTemp("", "kmemgate-faults-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	benchDir = dir
	status := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

var theBench = sync.OnceValues(func() (*bench, error) {
	b := &bench{dir: benchDir, binary: filepath.Join(benchDir, "kmemgate"), cache: filepath.Join(benchDir, "cache")}
	if out, err := exec.Command("go", "build", "-o", b.binary, "../..").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build: %w: %s", err, out)
	}
	// Go's own caches stay where they are when XDG_CACHE_HOME and HOME move.
	out, err := exec.Command("go", "env", "GOCACHE", "GOMODCACHE").Output()
	if err != nil {
		return nil, err
	}
	dirs := strings.Fields(string(out))
	b.goEnv = []string{"GOCACHE=" + dirs[0], "GOMODCACHE=" + dirs[1]}
	if err := copyTree("../../scenarios/leak-on-exit", filepath.Join(b.dir, "driver")); err != nil {
		return nil, err
	}
	return b, b.linkCache()
})

// missing skips a row on a desk that lacks something, and fails it in CI.
func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// needRoot skips where we are not root, in CI too: there root runs the bench as well.
func needRoot(t *testing.T, what string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skipf("%s: only root may", what)
	}
}

// needBench skips on a desk without QEMU or the kernel, never in CI.
func needBench(t *testing.T) *bench {
	t.Helper()
	if testing.Short() {
		t.Skip("boots VMs")
	}
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		missing(t, "no QEMU: %v", err)
	}
	builder := &kernels.Builder{}
	defer builder.Close()
	if _, err := builder.Path(t.Context(), kernels.Spec{Source: "6.12", Arch: "x86_64"}); err != nil {
		missing(t, "no kernel: %v", err)
	}
	b, err := theBench()
	require.NoError(t, err)
	return b
}

// linkCache makes a cache whose sources and kernels are the user's, by links:
// what a row breaks, and what a run removes, are then links too. The locks are
// shared with the user's cache, so that nothing is pruned from under a row.
func (b *bench) linkCache() error {
	user, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	for _, pattern := range []string{"kernels/6.12*-x86_64-*.ok", "userland/*.ok"} {
		marks, err := filepath.Glob(filepath.Join(user, "kmemgate", pattern))
		if err != nil {
			return err
		}
		for _, mark := range marks {
			if err := b.link(strings.TrimSuffix(mark, ".ok"), ".ok", ".lock", ""); err != nil {
				return err
			}
		}
	}
	return b.linkSource(filepath.Join(user, "kmemgate"))
}

// linkSource links a source's content, not its folder: a series is looked up
// among the folders.
func (b *bench) linkSource(user string) error {
	marks, err := filepath.Glob(filepath.Join(user, "sources", "6.12*.ok"))
	if err != nil {
		return err
	}
	for _, mark := range marks {
		source := strings.TrimSuffix(mark, ".ok")
		if err := b.link(source, ".ok", ".lock"); err != nil {
			return err
		}
		own := filepath.Join(b.cache, "kmemgate", "sources", filepath.Base(source))
		if err := os.Mkdir(own, 0o755); err != nil {
			return err
		}
		content, err := os.ReadDir(source)
		if err != nil {
			return err
		}
		for _, e := range content {
			if err := os.Symlink(filepath.Join(source, e.Name()), filepath.Join(own, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// link links KIND/KEY with each suffix.
func (b *bench) link(entry string, suffixes ...string) error {
	dir := filepath.Join(b.cache, "kmemgate", filepath.Base(filepath.Dir(entry)))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, suffix := range suffixes {
		if err := os.Symlink(entry+suffix, filepath.Join(dir, filepath.Base(entry)+suffix)); err != nil {
			return err
		}
	}
	return nil
}

// warm makes the template, the control run and the module that rows begin
// with, once, by a run as any other.
var warm = sync.OnceValue(func() error {
	b, err := theBench()
	if err != nil {
		return err
	}
	d := &desk{bench: b, dir: filepath.Join(b.dir, "warm"), xdg: b.cache}
	if err := d.furnish(); err != nil {
		return err
	}
	if got := d.command(context.Background(), d.runArgs()...).wait(); got.status != exitLeaks {
		return fmt.Errorf("the first run, with nothing broken, exits %d:\n%s%s", got.status, got.stderr, got.stdout)
	}
	return nil
})

// needMount mounts a small tmpfs, or skips where that is not permitted.
func needMount(t *testing.T, options string, flags ...uintptr) string {
	t.Helper()
	needRoot(t, "mount")
	dir := filepath.Join(benchDir, "mnt-"+strings.ReplaceAll(filepath.Base(t.Name()), "/", "-"))
	require.NoError(t, os.MkdirAll(dir, 0o755))
	var all uintptr
	for _, f := range flags {
		all |= f
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", all, "mode=755,"+options); errors.Is(err, syscall.EPERM) {
		missing(t, "mount: %v: not in this container", err)
	} else {
		require.NoError(t, err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, 0), "nobody may use it any more") })
	return dir
}

// copyTree copies with the holes of sparse files, and links as links.
func copyTree(from, to string) error {
	if out, err := exec.Command("cp", "-a", "--sparse=always", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("cp %s: %w: %s", from, err, out)
	}
	return nil
}

// entries are the folders of a kind in a desk's cache, links left out.
func (d *desk) entries(t *testing.T, kind string) []string {
	t.Helper()
	list, err := os.ReadDir(filepath.Join(d.xdg, "kmemgate", kind))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	require.NoError(t, err)
	var dirs []string
	for _, e := range list {
		if e.IsDir() {
			dirs = append(dirs, filepath.Join(d.xdg, "kmemgate", kind, e.Name()))
		}
	}
	return dirs
}
