package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"testing"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/reports"
	"github.com/kmemgate/kmemgate/reports/render"
	"github.com/kmemgate/kmemgate/scenarios"
)

// leakReport is a run with one new leak.
func leakReport() reports.Report {
	return reports.NewReport([]reports.Run{{
		Kernel: "6.12.117", Arch: "x86_64", Scenario: "note", Verdict: reports.Leaks, Dir: "6.12.117/x86_64/note",
		Reproduce: "kmemgate run . --kernel 6.12 --arch x86_64", Leaks: []reports.Leak{{Title: "memory leak in f", Status: reports.New, Count: 1, Bytes: 64, Size: 64}},
	}})
}

func presented(t *testing.T, format string) (stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	c := newRun()
	c.SetOut(&out)
	c.SetErr(&errs)
	require.NoError(t, present(c, leakReport(), &scenarios.Scenario{}, "evidence-folder", format))
	return out.String(), errs.String()
}

// At the end a person reads the verdict, where the evidence is and what
// reproduces it; a program reads stdout, and nothing else stands there.
func TestTheEndingIsSaidInEveryFormat(t *testing.T) {
	t.Setenv("NO_COLOR", "1")
	for _, format := range render.Formats() {
		stdout, stderr := presented(t, format)
		require.NotEmpty(t, stdout, format)
		said := stderr
		if format == "text" {
			require.Empty(t, stderr, "the report has its ending")
			said = stdout
		}
		require.Contains(t, said, "LEAKS  1 new leak (1 object, 64 bytes)\n", format)
		require.Contains(t, said, "evidence:  evidence-folder/6.12.117/x86_64/note\n", format)
		require.Contains(t, said, "reproduce: kmemgate run . --kernel 6.12 --arch x86_64\n", format)
	}
}

func TestStdoutIsOnlyJSON(t *testing.T) {
	stdout, _ := presented(t, "json")
	dec := json.NewDecoder(bytes.NewBufferString(stdout))
	var r reports.Report
	require.NoError(t, dec.Decode(&r))
	require.Equal(t, reports.Leaks, r.Verdict)
	require.ErrorIs(t, dec.Decode(&r), io.EOF, "one value, and nothing after it")
}

// The title of a group is a stranger's folder name: no command of his own.
func TestGroupFoldsTheLogOfARunner(t *testing.T) {
	var log bytes.Buffer
	t.Setenv("GITHUB_ACTIONS", "")
	group(&log, "x")()
	require.Empty(t, log.String(), "elsewhere nobody folds")
	t.Setenv("GITHUB_ACTIONS", "true")
	end := group(&log, "a\n::error::b%")
	log.WriteString("within\n")
	end()
	require.Equal(t, "::group::a%0A::error::b%25\nwithin\n::endgroup::\n", log.String())
}

// NO_COLOR and FORCE_COLOR, by no-color.org and force-color.org: an empty value
// is none, and who wants no colour gets none.
func TestColourIsForTerminals(t *testing.T) {
	_, terminal, err := pty.Open()
	require.NoError(t, err)
	defer terminal.Close()
	file, err := os.CreateTemp(t.TempDir(), "")
	require.NoError(t, err)
	defer file.Close()
	for _, c := range []struct {
		no, force string
		w         io.Writer
		want      bool
	}{
		{"", "", file, false}, {"", "", terminal, true}, {"", "", &bytes.Buffer{}, false},
		{"1", "", terminal, false}, {"0", "", terminal, false},
		{"", "1", file, true}, {"", "1", &bytes.Buffer{}, true},
		{"1", "1", terminal, false}, {"1", "1", file, false},
	} {
		t.Setenv("NO_COLOR", c.no)
		t.Setenv("FORCE_COLOR", c.force)
		require.Equal(t, c.want, renderOptions(c.w, "text").Color, "%+v", c)
	}
}
