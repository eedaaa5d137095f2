package faults_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var cacheRows = []row{
	{"cache entries truncated", func(t *testing.T) { damaged(t, truncate) }},
	{"cache entries with a bit flipped", func(t *testing.T) { damaged(t, flip) }},
	{"cache entries with a bit flipped by the disk", func(t *testing.T) { damaged(t, flipInSilence) }},
	{"marks of completeness truncated", marksTruncated},
	{"cache made read-only", readOnly},
	{"cache entries of another user", anothersEntries},
	{"cache entries of another user, damaged", anothersDamage},
	{"cache entries deleted while in use", deletedInUse},
	{"cache pruned while in use", prunedInUse},
}

var crowdRows = []row{
	{"two builds at once of a kernel that is not there", func(t *testing.T) { crowdOfKernels(t, 2) }},
	{"eight builds at once of a kernel that is not there", func(t *testing.T) { crowdOfKernels(t, 8) }},
	{"two runs at once on a cold cache", func(t *testing.T) { crowd(t, 2) }},
	{"eight runs at once on a cold cache", func(t *testing.T) { crowd(t, 8) }},
}

// owned are the kinds of entries that a desk has copies of.
var owned = []string{"modules", "templates", "controls"}

// damaged breaks the largest file of each entry: it is found, told and made again.
func damaged(t *testing.T, harm func(*testing.T, string)) {
	d := newDesk(t)
	count := 0
	for _, kind := range owned {
		for _, dir := range d.entries(t, kind) {
			harm(t, largest(t, dir))
			count++
		}
	}
	require.GreaterOrEqual(t, count, 3)
	got := d.run(t)
	d.wantLeak(t, got)
	assert.Contains(t, got.stderr, "is damaged")
	assert.Contains(t, got.stderr, "making it again")
	assert.Contains(t, got.stderr, "template: booting")
	again := d.run(t)
	d.wantLeak(t, again)
	assert.NotContains(t, again.stderr, "damaged", "made once")
}

func truncate(t *testing.T, file string) {
	t.Helper()
	info, err := os.Stat(file)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(file, info.Size()/2))
}

func flip(t *testing.T, file string) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	info, err := f.Stat()
	require.NoError(t, err)
	var b [1]byte
	_, err = f.ReadAt(b[:], info.Size()/2)
	require.NoError(t, err)
	b[0] ^= 4
	_, err = f.WriteAt(b[:], info.Size()/2)
	require.NoError(t, err)
}

// flipInSilence leaves the file's time as it was.
func flipInSilence(t *testing.T, file string) {
	t.Helper()
	info, err := os.Stat(file)
	require.NoError(t, err)
	flip(t, file)
	require.NoError(t, os.Chtimes(file, info.ModTime(), info.ModTime()))
}

// largest is an entry's largest file.
func largest(t *testing.T, dir string) (name string) {
	t.Helper()
	size := int64(-1)
	require.NoError(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		if info, err := e.Info(); err == nil && info.Size() > size {
			name, size = path, info.Size()
		}
		return nil
	}))
	require.NotEmpty(t, name, dir)
	return name
}

func marksTruncated(t *testing.T) {
	d := newDesk(t)
	for _, kind := range owned {
		for _, dir := range d.entries(t, kind) {
			truncate(t, dir+".ok")
		}
	}
	got := d.run(t)
	d.wantLeak(t, got)
	assert.Contains(t, got.stderr, "is damaged")
}

// readOnly takes every right to write, from a user who is not root.
func readOnly(t *testing.T) {
	d := newDesk(t)
	d.giveAway(t)
	chmodTree(t, d.xdg, 0o222, 0)
	defer chmodTree(t, d.xdg, 0, 0o200)
	d.wantLeak(t, d.run(t))
}

// chmodTree clears and sets permissions; links stay.
func chmodTree(t *testing.T, root string, clear, set fs.FileMode) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.Type()&fs.ModeSymlink != 0 {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		return os.Chmod(path, info.Mode().Perm()&^clear|set)
	}))
}

// anothers leaves the cache root's, and everything else nobody's.
func anothers(t *testing.T) *desk {
	t.Helper()
	needRoot(t, "chown")
	d := newDesk(t)
	d.giveAway(t)
	require.NoError(t, filepath.WalkDir(filepath.Join(d.xdg, "kmemgate"), func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, 0, 0)
	}))
	return d
}

func anothersEntries(t *testing.T) {
	d := anothers(t)
	d.wantLeak(t, d.run(t))
}

func anothersDamage(t *testing.T) {
	d := anothers(t)
	for _, dir := range d.entries(t, "modules") {
		truncate(t, largest(t, dir))
	}
	d.wantNone(t, d.run(t), "permission denied", "set XDG_CACHE_HOME to a directory that can be written to")
}

// deletedInUse takes the cache's own entries from under a run's guest.
func deletedInUse(t *testing.T) {
	d := newDesk(t)
	r := d.start(t, d.runArgs()...)
	r.until(t, "a guest", func() bool { return d.runs(qemu, "-incoming") })
	for _, kind := range owned {
		require.NoError(t, os.RemoveAll(filepath.Join(d.xdg, "kmemgate", kind)))
	}
	got := r.wait()
	t.Logf("exit status %d:\n%s", got.status, got.said())
	require.Contains(t, []int{exitLeaks, exitNone}, got.status, "a verdict, the right one, or none")
	if got.status == exitNone {
		assert.Contains(t, got.unwrapped(), "run again")
	}
	d.nothingLeft(t)
	d.wantLeak(t, d.run(t))
}

// prunedInUse lets the user prune everything during a run: what is in use stays.
func prunedInUse(t *testing.T) {
	d := newDesk(t)
	r := d.start(t, d.runArgs()...)
	r.until(t, "a guest", func() bool { return d.runs(qemu, "-incoming") })
	pruned := d.start(t, "cache", "prune", "--all").wait()
	require.Equal(t, exitClean, pruned.status, pruned.said())
	assert.NotContains(t, pruned.stdout, "templates/", "in use")
	d.wantLeak(t, r.wait())
}

// crowd starts runs at once where nothing is made: one makes, the others wait.
func crowd(t *testing.T, n int) {
	d := newDesk(t, owned...)
	out := d.out
	all := make([]*running, n)
	for i := range all {
		d.out = fmt.Sprintf("%s-%d", out, i)
		all[i] = d.start(t, d.runArgs("--jobs", "1")...)
	}
	var said strings.Builder
	var wait sync.WaitGroup
	got := make([]result, n)
	for i, r := range all {
		wait.Go(func() { got[i] = r.wait() })
	}
	wait.Wait()
	for _, g := range got {
		d.wantLeak(t, g)
		said.WriteString(g.stderr)
	}
	assert.Equal(t, 1, strings.Count(said.String(), "template: booting"), "one makes the template:\n%s", &said)
	assert.GreaterOrEqual(t, strings.Count(said.String(), "cache: waiting for "), n-1, "the others say so:\n%s", &said)
	assert.Len(t, d.entries(t, "templates"), 1)
}
