package kernels

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestClockThatJumps sets the clock ahead and back by a year, between uses and
// while an entry is made. What was used last is evicted last all the same.
func TestClockThatJumps(t *testing.T) {
	now := time.Now()
	c := &Cache{Dir: t.TempDir(), Now: func() time.Time { return now }}
	made := 0
	use := func(key string, jump time.Duration) {
		_, release, err := c.Entry(t.Context(), KindModules, key, func(_ context.Context, dir string) error {
			made++
			now = now.Add(jump)
			return os.WriteFile(filepath.Join(dir, "a"), make([]byte, 10000), 0o644)
		})
		require.NoError(t, err)
		release()
		now = now.Add(time.Second)
	}
	const year = 365 * 24 * time.Hour
	use("one", 0)
	use("two", year)
	use("three", -2*year)
	use("four", 0)
	now = now.Add(year)
	use("one", 0)
	require.Equal(t, 4, made)
	require.Equal(t, []string{"two", "three", "four", "one"}, keysInOrder(t, c))

	entries, err := c.List()
	require.NoError(t, err)
	gone, err := c.Prune(entries[0].Bytes * 2)
	require.NoError(t, err)
	require.Len(t, gone, 2)
	require.Equal(t, []string{"four", "one"}, keysInOrder(t, c), "the two that were used last")
	gone, err = c.PruneUnused(now.Add(-time.Hour))
	require.NoError(t, err)
	require.Empty(t, gone)
}

// TestFilesOfTheFuture: times tell nothing, content does.
func TestFilesOfTheFuture(t *testing.T) {
	c := &Cache{Dir: t.TempDir()}
	made := 0
	use := func() string {
		dir, release, err := c.Entry(t.Context(), KindModules, "key", func(_ context.Context, dir string) error {
			made++
			return os.WriteFile(filepath.Join(dir, "a"), []byte("text"), 0o644)
		})
		require.NoError(t, err)
		release()
		return dir
	}
	dir, future := use(), time.Now().AddDate(1, 0, 0)
	require.NoError(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		require.NoError(t, err)
		return os.Chtimes(path, future, future)
	}))
	use()
	require.Equal(t, 1, made)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a"), []byte("tixt"), 0o644))
	require.NoError(t, os.Chtimes(filepath.Join(dir, "a"), future, future))
	use()
	require.Equal(t, 2, made, "other content, and a time of the future")
}

func keysInOrder(t *testing.T, c *Cache) []string {
	t.Helper()
	entries, err := c.List()
	require.NoError(t, err)
	var keys []string
	for _, e := range entries {
		keys = append(keys, e.Key)
	}
	return keys
}
