package kernels

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// maker counts how often it was asked and writes one file.
func maker(calls *atomic.Int32, content string) func(context.Context, string) error {
	return func(_ context.Context, dir string) error {
		calls.Add(1)
		return os.WriteFile(filepath.Join(dir, "file"), []byte(content), 0o644)
	}
}

func TestEntryIsMadeOnce(t *testing.T) {
	var calls atomic.Int32
	var log bytes.Buffer
	c := &Cache{Dir: t.TempDir(), Log: &log}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			// Each has a Cache of its own, as other processes would.
			other := &Cache{Dir: c.Dir}
			dir, release, err := other.Entry(t.Context(), KindUserland, "key", maker(&calls, "x"))
			if err != nil {
				t.Error(err)
				return
			}
			defer release()
			if got, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || string(got) != "x" {
				t.Errorf("read %q, %v", got, err)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, calls.Load())
	require.Empty(t, log.String())
}

func TestEntryFailedMakeLeavesNothing(t *testing.T) {
	var calls atomic.Int32
	c := &Cache{Dir: t.TempDir()}
	boom := errors.New("boom")
	_, _, err := c.Entry(t.Context(), KindUserland, "key", func(_ context.Context, dir string) error {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "half"), nil, 0o644))
		return boom
	})
	require.ErrorIs(t, err, boom)
	entries, err := c.List()
	require.NoError(t, err)
	require.Empty(t, entries)

	dir, release, err := c.Entry(t.Context(), KindUserland, "key", maker(&calls, "x"))
	require.NoError(t, err)
	defer release()
	require.NoFileExists(t, filepath.Join(dir, "half"))
}

func TestEntryDamageIsFound(t *testing.T) {
	damages := map[string]func(t *testing.T, file string){
		"changed": func(t *testing.T, file string) {
			require.NoError(t, os.WriteFile(file, []byte("Whole"), 0o644))
		},
		"cut":     func(t *testing.T, file string) { require.NoError(t, os.Truncate(file, 2)) },
		"removed": func(t *testing.T, file string) { require.NoError(t, os.Remove(file)) },
		"manifest cut": func(t *testing.T, file string) {
			ok := okFile(filepath.Dir(file))
			info, err := os.Stat(ok)
			require.NoError(t, err)
			require.NoError(t, os.Truncate(ok, info.Size()-3))
		},
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			var calls atomic.Int32
			var log bytes.Buffer
			c := &Cache{Dir: t.TempDir(), Log: &log}
			dir, release, err := c.Entry(t.Context(), KindUserland, "key", maker(&calls, "whole"))
			require.NoError(t, err)
			release()
			damage(t, filepath.Join(dir, "file"))

			_, release, err = c.Entry(t.Context(), KindUserland, "key", maker(&calls, "whole"))
			require.NoError(t, err)
			defer release()
			require.EqualValues(t, 2, calls.Load())
			require.Equal(t, 1, strings.Count(log.String(), "is damaged"), log.String())
			got, err := os.ReadFile(filepath.Join(dir, "file"))
			require.NoError(t, err)
			require.Equal(t, "whole", string(got))
		})
	}
}

// A cache that CI packed and unpacked has other times: no reason to build anew.
func TestEntrySurvivesNewTimes(t *testing.T) {
	var calls atomic.Int32
	c := &Cache{Dir: t.TempDir()}
	dir, release, err := c.Entry(t.Context(), KindUserland, "key", maker(&calls, "x"))
	require.NoError(t, err)
	release()
	then := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(filepath.Join(dir, "file"), then, then))
	_, release, err = c.Entry(t.Context(), KindUserland, "key", maker(&calls, "x"))
	require.NoError(t, err)
	release()
	require.EqualValues(t, 1, calls.Load())
}

func TestEntryWaitsForTheOther(t *testing.T) {
	dir := t.TempDir()
	started, finish := make(chan struct{}), make(chan struct{})
	go func() {
		c := &Cache{Dir: dir}
		_, release, err := c.Entry(t.Context(), KindUserland, "key", func(context.Context, string) error {
			close(started)
			<-finish
			return nil
		})
		if err == nil {
			release()
		}
	}()
	<-started
	var log bytes.Buffer
	c := &Cache{Dir: dir, Log: &log}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, _, err := c.Entry(ctx, KindUserland, "key", func(context.Context, string) error { return nil })
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, 1, strings.Count(log.String(), "waiting for userland/key"), log.String())
	close(finish)
	_, release, err := c.Entry(t.Context(), KindUserland, "key", func(context.Context, string) error {
		return errors.New("made twice")
	})
	require.NoError(t, err)
	release()
}

// A waiter must not have to wait until the maker is done with using what it made,
// whether it made what was missing or what was damaged.
func TestEntryIsSharedWithTheMaker(t *testing.T) {
	for _, damaged := range []bool{false, true} {
		t.Run(fmt.Sprintf("damaged=%v", damaged), func(t *testing.T) { sharedWithTheMaker(t, damaged) })
	}
}

func sharedWithTheMaker(t *testing.T, damaged bool) {
	root := t.TempDir()
	c := &Cache{Dir: root}
	dir, err := c.Path(KindUserland, "key")
	require.NoError(t, err)
	if damaged {
		var calls atomic.Int32
		_, release, err := c.Entry(t.Context(), KindUserland, "key", maker(&calls, "whole"))
		require.NoError(t, err)
		release()
		require.NoError(t, os.RemoveAll(dir))
	}
	seen := markOf(dir)
	started := make(chan struct{})
	made := make(chan func(), 1)
	go func() {
		defer close(made)
		_, release, err := c.Entry(t.Context(), KindUserland, "key", func(context.Context, string) error {
			close(started)
			time.Sleep(3 * lockPoll)
			return nil
		})
		if assert.NoError(t, err) {
			made <- release // held until the other has it too
		}
	}()
	<-started
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err = c.lockToMake(ctx, dir, "", seen) // as one does that saw the same
	require.ErrorIs(t, err, errMade)
	_, release, err := c.Entry(ctx, KindUserland, "key", func(context.Context, string) error {
		return errors.New("made twice")
	})
	require.NoError(t, err)
	release()
	(<-made)()
}

func TestInPlaceEntryResumes(t *testing.T) {
	c := &Cache{Dir: t.TempDir()}
	r := recipe{inPlace: true, make: func(_ context.Context, dir string) error {
		if _, err := os.Stat(filepath.Join(dir, "step1")); err == nil {
			return nil
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, "step1"), nil, 0o644))
		return context.Canceled
	}}
	_, _, err := c.entry(t.Context(), KindKernels, "key", r)
	require.ErrorIs(t, err, context.Canceled)
	entries, err := c.List()
	require.NoError(t, err)
	require.Len(t, entries, 1)
	require.False(t, entries[0].Complete)
	dir, release, err := c.entry(t.Context(), KindKernels, "key", r)
	require.NoError(t, err)
	defer release()
	require.FileExists(t, filepath.Join(dir, "step1"))
}

func TestEvictionTakesTheLeastRecentlyUsedAndSparesWhatIsInUse(t *testing.T) {
	var calls atomic.Int32
	var log bytes.Buffer
	c := &Cache{Dir: t.TempDir(), Limit: -1, Log: &log}
	content := strings.Repeat("x", 100<<10)
	releases := map[string]func(){}
	for i, key := range []string{"a", "b", "c"} {
		dir, release, err := c.Entry(t.Context(), KindUserland, key, maker(&calls, content))
		require.NoError(t, err)
		releases[key] = release
		used := time.Now().Add(time.Duration(i-10) * time.Hour)
		require.NoError(t, os.Chtimes(okFile(dir), used, used))
	}
	releases["b"]()
	releases["c"]() // a, the oldest, stays in use
	c.Limit = 350 << 10
	_, release, err := c.Entry(t.Context(), KindUserland, "d", maker(&calls, content))
	require.NoError(t, err)
	defer release()
	require.Equal(t, []string{"a", "c", "d"}, keys(t, c))
	require.Contains(t, log.String(), "removed userland/b")

	releases["a"]()
	gone, err := c.Prune(0)
	require.NoError(t, err)
	require.Len(t, gone, 2)
	require.Equal(t, []string{"d"}, keys(t, c))
}

// What a job of CI keeps for the next: all that it used, and nothing older.
func TestPruneUnusedSparesWhatWasUsedSince(t *testing.T) {
	var calls atomic.Int32
	c := &Cache{Dir: t.TempDir(), Limit: -1}
	start := time.Now()
	for key, age := range map[string]time.Duration{"old": time.Hour, "older": 2 * time.Hour, "held": time.Hour, "new": -time.Minute} {
		dir, release, err := c.Entry(t.Context(), KindUserland, key, maker(&calls, "x"))
		require.NoError(t, err)
		if key != "held" {
			release()
		}
		defer release()
		require.NoError(t, os.Chtimes(okFile(dir), start.Add(-age), start.Add(-age)))
	}
	gone, err := c.PruneUnused(start)
	require.NoError(t, err)
	require.Len(t, gone, 2)
	require.ElementsMatch(t, []string{"held", "new"}, keys(t, c))
}

func keys(t *testing.T, c *Cache) (keys []string) {
	entries, err := c.List()
	require.NoError(t, err)
	for _, e := range entries {
		keys = append(keys, e.Key)
	}
	return keys
}

func TestKeysThatAreNoFileNames(t *testing.T) {
	c := &Cache{Dir: t.TempDir()}
	for _, key := range []string{"", ".", "..", "a/b", "a b", ".hidden", "x.ok", "x.lock", "x.tmp", "a\nb"} {
		_, _, err := c.Entry(t.Context(), KindUserland, key, func(context.Context, string) error {
			t.Errorf("made %q", key)
			return nil
		})
		require.Error(t, err, "key %q", key)
	}
}

func TestManifestMustNotLeaveTheEntry(t *testing.T) {
	_, err := parseManifestFile(`- 1 2 "../../etc/passwd"`)
	require.ErrorContains(t, err, "outside")
}

func TestFullDiskHasACure(t *testing.T) {
	c := &Cache{Dir: t.TempDir()}
	_, _, err := c.Entry(t.Context(), KindUserland, "key", func(context.Context, string) error {
		return hostErr(&os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, "unpack")
	})
	require.ErrorContains(t, err, "kmemgate cache prune")
	require.False(t, IsUsage(err))
}
