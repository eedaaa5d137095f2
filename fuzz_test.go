package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var fuzzTarget = regexp.MustCompile(`(?m)^func (Fuzz\w+)\(f \*testing\.F\)`)

// Every fuzz target has a corpus that go test reads in testdata/fuzz, and its
// executions in docs/fuzzing.md; nothing is kept for a target that is gone.
func TestEveryFuzzTargetHasACorpus(t *testing.T) {
	page, err := os.ReadFile("docs/fuzzing.md")
	require.NoError(t, err)
	targets := fuzzTargets(t)
	require.GreaterOrEqual(t, len(targets), 12)
	for target := range targets {
		kept, err := filepath.Glob(target + "/*")
		require.NoError(t, err)
		require.GreaterOrEqual(t, len(kept), 4, "%s: make fuzz corpus", target)
		for _, file := range kept {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			require.True(t, bytes.HasPrefix(text, []byte("go test fuzz v1\n")), file)
		}
		pkg := strings.TrimSuffix(filepath.Dir(target), "/testdata/fuzz")
		require.Regexp(t, "(?m)^\\| `"+pkg+"` \\| `"+filepath.Base(target)+"` \\|.*\\| [0-9,]+ \\|$", string(page))
	}
	kept, err := filepath.Glob("*/testdata/fuzz/*")
	require.NoError(t, err)
	deeper, err := filepath.Glob("*/*/testdata/fuzz/*")
	require.NoError(t, err)
	for _, dir := range append(kept, deeper...) {
		require.Contains(t, targets, dir, "its target is gone")
	}
}

// fuzzTargets are the folders that the targets' corpora belong in.
func fuzzTargets(t *testing.T) map[string]bool {
	t.Helper()
	folders := map[string]bool{}
	for _, pattern := range []string{"*_test.go", "*/*_test.go", "*/*/*_test.go"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, file := range files {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			for _, m := range fuzzTarget.FindAllSubmatch(text, -1) {
				folders[filepath.Join(filepath.Dir(file), "testdata/fuzz", string(m[1]))] = true
			}
		}
	}
	return folders
}
