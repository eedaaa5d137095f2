package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const leaksDay = "../../docs/a-leaks-day.md"

var citation = regexp.MustCompile("\\[`(\\w+)`\\]\\(\\.\\./([^)]+\\.go)\\)")

// Each function that the page names is in the file it leads to.
func TestLeaksDayCitations(t *testing.T) {
	page, err := os.ReadFile(leaksDay)
	require.NoError(t, err)
	cited := citation.FindAllStringSubmatch(string(page), -1)
	require.Greater(t, len(cited), 20)
	for _, m := range cited {
		code, err := os.ReadFile(filepath.Join("../..", m[2]))
		require.NoError(t, err, m[0])
		function := regexp.MustCompile(`(?m)^func (\(\w+ \*?\w+\) )?` + m[1] + `[\[(]`)
		require.True(t, function.Match(code), "%s: no such function there", m[0])
	}
}

// What the page quotes is what a run leaves behind, but for numbers.
func TestLeaksDayQuotes(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a VM")
	}
	skipWithoutKernel(t, "6.12")
	out := t.TempDir()
	session := typeIn(t, []typed{{line: "kmemgate run --kernel 6.12 --arch x86_64 --out " + out + " scenarios/leak-on-exit"}, {line: "echo $?"}})
	require.Equal(t, "1\n", session[1])
	runs, err := filepath.Glob(filepath.Join(out, "*/x86_64/leak-on-exit"))
	require.NoError(t, err)
	require.Len(t, runs, 1)
	quotes := 0
	for _, f := range fences(t, leaksDay) {
		if _, file, _ := strings.Cut(f.info, " "); file != "" && !strings.HasPrefix(f.info, "sh") {
			dir := runs[0]
			if file == "report.json" {
				dir = out
			}
			requireQuoted(t, f, filepath.Join(dir, file))
			quotes++
		}
	}
	require.Equal(t, 3, quotes)
}

// requireQuoted wants the lines of a block in the file, in their order.
func requireQuoted(t *testing.T, f fence, file string) {
	t.Helper()
	evidence, err := os.ReadFile(file)
	require.NoError(t, err)
	rest := withoutNumbers(string(evidence))
	for _, line := range strings.Split(strings.TrimSpace(f.text), "\n") {
		_, after, found := strings.Cut(rest, withoutNumbers(strings.TrimSpace(line)))
		require.True(t, found, "%s: %s is not in %s", f.name(), line, filepath.Base(file))
		rest = after
	}
}

var numbers = regexp.MustCompile(`\b(0x)?[0-9a-f]*[0-9][0-9a-f]*\b`)

func withoutNumbers(s string) string { return numbers.ReplaceAllString(s, "N") }
