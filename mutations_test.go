package main

import (
	"bytes"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// make mutate takes an hour and is for the night. That each check can still be taken
// out, its text being once in its file, and that its test is still there, is known
// at once.
func TestMutationsApply(t *testing.T) {
	list, err := os.ReadFile(".ci/mutations/mutations.yml")
	require.NoError(t, err)
	var mutations []struct{ Name, File, Text, With, Test string }
	require.NoError(t, yaml.Unmarshal(list, &mutations))
	require.Greater(t, len(mutations), 80)
	for _, m := range mutations {
		source, err := os.ReadFile(m.File)
		if assert.NoError(t, err, m.Name) {
			assert.Equal(t, 1, bytes.Count(source, []byte(m.Text)), "%s: its text in %s", m.Name, m.File)
		}
		assert.NotEqual(t, m.Text, m.With, m.Name)
		pkg, pattern, _ := strings.Cut(m.Test, " ")
		for _, name := range namedTests(pattern) {
			assert.True(t, hasTest(t, pkg, name), "%s: %s has no %s", m.Name, pkg, name)
		}
	}
}

// namedTests are the functions of a -run pattern.
//
// Example: ^(TestJudgeSortsOrphans|TestJudgeWithoutStacks)$/^transient$
func namedTests(pattern string) []string {
	pattern, _, _ = strings.Cut(pattern, "/")
	return strings.Split(strings.Trim(pattern, "^()$"), "|")
}

func hasTest(t *testing.T, pkg, name string) bool {
	t.Helper()
	files, err := filepath.Glob(path.Join(pkg, "*_test.go"))
	require.NoError(t, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		if bytes.Contains(text, []byte("\nfunc "+name+"(")) {
			return true
		}
	}
	return false
}
