package kernels

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzManifest puts any text where an entry's manifest is. It is refused, or each
// of its lines names a file of the entry with that size; and what its lines were
// read as is, written down, read as the same.
func FuzzManifest(f *testing.F) {
	for _, text := range []string{
		manifestMagic + " 4096\n- 4 1 \"tree/a\"\n",
		manifestMagic + " 4096\n- 4 1 \"../outside\"\n",
		manifestMagic + " 4096\n- 4 1 `tree/a`\nff 2 1 \"b\"\n",
		manifestMagic + " 4096\n3b9c358f36f0a31b6ad3e14f309c7cf198ac9246e8316f9ce543d5b19ac02b80 2 1 \"b\"\n",
		manifestMagic + "\n", "", "kmemgate.cache/v2 1\n",
	} {
		f.Add([]byte(text))
	}
	around := f.TempDir()
	dir := filepath.Join(around, "entry")
	require.NoError(f, os.MkdirAll(filepath.Join(dir, "tree"), 0o755))
	sizes := map[string]int64{"tree/a": 4, "b": 2}
	for name, text := range map[string]string{"entry/tree/a": "four", "entry/b": "xx", "outside": "four"} {
		require.NoError(f, os.WriteFile(filepath.Join(around, name), []byte(text), 0o644))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		err := checkLines(dir, bytes.NewReader(text), true)
		lines := bufio.NewScanner(bytes.NewReader(text))
		if _, headErr := manifestHead(lines); headErr != nil {
			require.Error(t, err)
			return
		}
		for lines.Scan() {
			file, lineErr := parseManifestFile(lines.Text())
			if lineErr != nil {
				require.Error(t, err)
				return
			}
			if size, ok := sizes[filepath.Clean(file.path)]; !ok || size != file.size {
				require.Error(t, err, file.path)
			}
			again, lineErr := parseManifestFile(file.String())
			require.NoError(t, lineErr)
			require.Equal(t, file, again)
			checkLine(t, lines.Text(), file)
		}
	})
}

// checkLine reads a line another way than the parser does.
func checkLine(t *testing.T, line string, file manifestFile) {
	t.Helper()
	sum, rest, _ := strings.Cut(line, " ")
	size, rest, _ := strings.Cut(rest, " ")
	require.Equal(t, sum, file.sum)
	n, err := strconv.Atoi(size)
	require.NoError(t, err)
	require.EqualValues(t, n, file.size)
	require.True(t, filepath.IsLocal(file.path), rest)
}
