package kernels

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestQuickSum: the same content has the same sum, with holes and without; any bit
// and any block in another place has another.
func TestQuickSum(t *testing.T) {
	content := make([]byte, 40*quickBlock+100)
	for _, at := range []int{0, 5000, 9 * quickBlock, 39*quickBlock + 1, len(content) - 1} {
		content[at] = 'x'
	}
	file := filepath.Join(t.TempDir(), "file")
	sum := func() string {
		s, err := quickSum(file)
		require.NoError(t, err)
		return s
	}
	require.NoError(t, os.WriteFile(file, content, 0o644))
	whole := sum()
	require.NoError(t, os.Remove(file))
	f, err := os.Create(file)
	require.NoError(t, err)
	for at := 0; at < len(content); at += quickBlock {
		if block := content[at:min(at+quickBlock, len(content))]; strings.Contains(string(block), "x") {
			_, err := f.WriteAt(block, int64(at))
			require.NoError(t, err)
		}
	}
	require.NoError(t, f.Close())
	require.Equal(t, whole, sum(), "with holes")

	seen := map[string]int{whole: -1}
	for at := 0; at < len(content); at += 997 {
		changed := []byte(string(content))
		changed[at] ^= 1
		require.NoError(t, os.WriteFile(file, changed, 0o644))
		got := sum()
		require.NotContains(t, seen, got, "byte %d", at)
		seen[got] = at
	}
	moved := append(make([]byte, quickBlock), content[:len(content)-quickBlock]...)
	require.NoError(t, os.WriteFile(file, moved, 0o644))
	require.NotEqual(t, whole, sum(), "a block further")
}

// TestFlippedByTheDisk has a bit of an entry change and its time stay.
func TestFlippedByTheDisk(t *testing.T) {
	var log logBuffer
	c := &Cache{Dir: t.TempDir(), Log: &log}
	made := 0
	fill := func(_ context.Context, dir string) error {
		made++
		return os.WriteFile(filepath.Join(dir, "ram"), []byte(strings.Repeat("memory", 5000)), 0o644)
	}
	dir, release, err := c.Entry(t.Context(), KindTemplates, "key", fill)
	require.NoError(t, err)
	release()
	file := filepath.Join(dir, "ram")
	info, err := os.Stat(file)
	require.NoError(t, err)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	text[20000] ^= 4
	require.NoError(t, os.WriteFile(file, text, 0o644))
	require.NoError(t, os.Chtimes(file, info.ModTime(), info.ModTime()))
	_, release, err = c.Entry(t.Context(), KindTemplates, "key", fill)
	require.NoError(t, err)
	release()
	require.Equal(t, 2, made)
	require.Contains(t, log.String(), "templates/key is damaged (ram has other content than when it was made): making it again")
}

// BenchmarkQuickSum is of a file like a template's memory: 128 MB, 35 MB of them written.
func BenchmarkQuickSum(b *testing.B) {
	file := filepath.Join(b.TempDir(), "ram")
	f, err := os.Create(file)
	require.NoError(b, err)
	defer f.Close()
	block := []byte(strings.Repeat("memory!!", quickBlock/8))
	for n := range int64(35 << 20 / quickBlock) {
		_, err := f.WriteAt(block, n*3*quickBlock)
		require.NoError(b, err)
	}
	require.NoError(b, f.Truncate(128<<20))
	for b.Loop() {
		_, err := quickSum(file)
		require.NoError(b, err)
	}
}
