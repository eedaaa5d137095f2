package scenarios

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

//go:generate go test -run ^TestTable$ -update

var update = flag.Bool("update", false, "write docs/scenarios.md anew")

const tableFile = "../docs/scenarios.md"

// TestTable compares the table in the docs with the scenarios it is made from.
func TestTable(t *testing.T) {
	table := scenarioTable(t)
	if *update {
		require.NoError(t, os.WriteFile(tableFile, []byte(table), 0o644))
	}
	have, err := os.ReadFile(tableFile)
	require.NoError(t, err)
	require.Equal(t, string(have), table, "type: go generate ./scenarios")
}

func scenarioTable(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob("*/" + FileName)
	require.NoError(t, err)
	var b strings.Builder
	b.WriteString("# The suite\n\nMade from the scenarios by `go generate ./scenarios`. Where no kernels are named, all are meant.\n\n" +
		"| scenario | what it shows | outcome |\n|---|---|---|\n")
	for _, file := range files {
		s, err := Load(filepath.Dir(file))
		require.NoError(t, err)
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		shows := opening(string(text))
		require.NotEmpty(t, shows, "%s: begins with a comment that says what it shows", file)
		fmt.Fprintf(&b, "| [%[1]s](../scenarios/%[1]s) | %[2]s | %[3]s |\n", s.Name, cell(shows), cell(outcome(s.Expect)))
	}
	return b.String()
}

// opening is the comment that a file begins with.
func opening(text string) string {
	var words []string
	for line := range strings.Lines(text) {
		comment, ok := strings.CutPrefix(line, "#")
		if !ok {
			break
		}
		words = append(words, strings.Fields(comment)...)
	}
	return strings.Join(words, " ")
}

// outcome says what is expected, and where.
func outcome(list Expectations) string {
	var parts []string
	for _, e := range list {
		text := e.Verdict
		if e.Reason != "" {
			text += " (" + e.Reason + ")"
		}
		var leaks []string
		for _, l := range e.Leaks {
			leaks = append(leaks, "`"+l.Function+"`"+times(l.Count))
		}
		if len(leaks) > 0 {
			text += ": " + strings.Join(leaks, ", ")
		}
		where := strings.Join(append(append([]string{}, e.Kernels...), e.Arches...), ", ")
		if where != "" {
			text = where + ": " + text
		}
		if e.Why != "" {
			text += " (" + e.Why + ")"
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "; ")
}

func times(n int) string {
	if n < 2 {
		return ""
	}
	return fmt.Sprintf(" × %d", n)
}

// cell is text for a table of Markdown.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;").Replace(text)
}
