package scenarios

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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
	if string(have) != table {
		t.Errorf("%s is not what the scenarios say, first in this line; type: go generate ./scenarios\n%s", tableFile, firstNew(string(have), table))
	}
}

// firstNew is the first line of text that old does not have.
func firstNew(old, text string) string {
	for line := range strings.Lines(text) {
		if !strings.Contains(old, line) {
			return line
		}
	}
	return "(a line is gone)"
}

func scenarioTable(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	series := pairSeries()
	fmt.Fprintf(&b, "# The suite\n\nMade from the scenarios by `go generate ./scenarios`: what each shows, and what is expected on each kernel, "+
		"on x86_64 and arm64 alike\nwhere none is named. `×` is how many objects a leak has.\n\n"+
		"| scenario | what it shows | %s | why they differ |\n|---|---|%s---|\n", strings.Join(series, " | "), strings.Repeat("---|", len(series)))
	for _, dir := range suite(t) {
		s, err := Load(dir)
		require.NoError(t, err)
		text, err := os.ReadFile(filepath.Join(dir, FileName))
		require.NoError(t, err)
		shows := opening(string(text))
		require.NotEmpty(t, shows, "%s: begins with a comment that says what it shows", dir)
		fmt.Fprintf(&b, "| [%[1]s](../scenarios/%[1]s) | %[2]s |", s.Name, cell(shows))
		for _, k := range series {
			fmt.Fprintf(&b, " %s |", cell(outcomes(s, k)))
		}
		fmt.Fprintf(&b, " %s |\n", cell(reasons(s.Expect)))
	}
	return b.String()
}

// pairSeries are the kernels of Pairs, each once.
func pairSeries() []string {
	var list []string
	for _, p := range Pairs {
		if k, _, _ := strings.Cut(p, "/"); !slices.Contains(list, k) {
			list = append(list, k)
		}
	}
	return list
}

// outcomes says what is expected on a kernel, by architecture where they differ.
func outcomes(s *Scenario, kernel string) string {
	var parts, texts []string
	for _, arch := range arches {
		e, _ := s.ExpectFor(kernel, arch)
		texts = append(texts, outcome(e))
		parts = append(parts, arch+": "+outcome(e))
	}
	if len(slices.Compact(texts)) == 1 {
		return texts[0]
	}
	return strings.Join(parts, "; ")
}

// reasons are those that narrowed expectations give.
func reasons(list Expectations) string {
	var parts []string
	for _, e := range list {
		if e.Why != "" && (len(e.Kernels) > 0 || len(e.Arches) > 0) {
			parts = append(parts, strings.Join(append(slices.Clone(e.Kernels), e.Arches...), ", ")+": "+e.Why)
		}
	}
	return strings.Join(parts, "; ")
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

// outcome is an expectation in short.
func outcome(e Expectation) string {
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
	return text
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
