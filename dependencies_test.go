package main

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	requireLine = regexp.MustCompile(`(?m)^(?:require )?\t?([a-z0-9.-]+\.[a-z]+/\S+) v\S+$`) // without "// indirect"
	toolLine    = regexp.MustCompile(`(?m)^(?:tool |\t)([a-z0-9.-]+\.[a-z]+/\S+)$`)
	rowOfTable  = regexp.MustCompile("(?m)^\\| `([^`]+)` \\| [^| ]")
)

// docs/dependencies.md gives a reason for each module that go.mod requires by
// itself and for each tool, and for nothing else.
func TestDependencies(t *testing.T) {
	page, err := os.ReadFile("docs/dependencies.md")
	require.NoError(t, err)
	used := matches(t, requireLine, "go.mod")
	require.Greater(t, len(used), 20)
	tools, err := filepath.Glob(".github/tools/*/go.mod")
	require.NoError(t, err)
	for _, file := range append(tools, ".github/tools/go.mod") {
		named := matches(t, toolLine, file)
		require.NotEmpty(t, named, file)
		used = append(used, named...)
	}
	var reasons []string
	for _, m := range rowOfTable.FindAllStringSubmatch(string(page), -1) {
		reasons = append(reasons, m[1])
	}
	require.ElementsMatch(t, used, reasons)
}

func matches(t *testing.T, line *regexp.Regexp, file string) (all []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	for _, m := range line.FindAllStringSubmatch(string(text), -1) {
		all = append(all, m[1])
	}
	return all
}
