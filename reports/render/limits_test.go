package render

import (
	"bytes"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/muesli/reflow/ansi"
	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/reports"
)

func write(t *testing.T, r reports.Report, opt Options) string {
	t.Helper()
	var buf bytes.Buffer
	require.NoError(t, Write(&buf, r, opt))
	return buf.String()
}

func TestFormats(t *testing.T) {
	require.Equal(t, []string{"folded", "folded-objects", "github", "html", "json", "junit", "ktap", "mail", "markdown", "pprof", "sarif", "text"}, Formats())
	require.ErrorContains(t, Write(&bytes.Buffer{}, sample(), Options{Format: "pdf"}), `unknown format "pdf" (want one of folded, folded-objects, github,`)
	require.Equal(t, write(t, sample(), Options{Format: "text"}), write(t, sample(), Options{}), "text is the default")
	for _, format := range Formats() { // nothing to say is said without a crash
		require.NoError(t, Write(&bytes.Buffer{}, reports.Report{}, Options{Format: format}), format)
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestWriteTellsOfAFullDisk(t *testing.T) {
	require.EqualError(t, Write(brokenPipe{}, sample(), Options{}), "write text report: broken pipe")
}

// TestWriteLeavesTheReportAlone: several formats are made of one report.
func TestWriteLeavesTheReportAlone(t *testing.T) {
	r := sample()
	for _, format := range Formats() {
		write(t, r, Options{Format: format, SourceDir: "drivers/leaky"})
		require.Equal(t, sample(), r, format)
	}
}

func TestColorOnlyWhenAsked(t *testing.T) {
	plain := write(t, sample(), Options{})
	require.NotContains(t, plain, "\x1b")
	colored := write(t, sample(), Options{Color: true})
	require.Contains(t, colored, "\x1b[1;31mLEAKS\x1b[0m")
	require.Contains(t, colored, "\x1b[1;33mno verdict", "no verdict is no pass: never green")
	require.Equal(t, plain, regexp.MustCompile("\x1b\\[[0-9;]*m").ReplaceAllString(colored, ""), "colour changes nothing else")
}

func TestProseIsFolded(t *testing.T) {
	r := reports.Report{Verdict: reports.None, Runs: []reports.Run{{
		Kernel: "6.12.117", Arch: "x86_64", Scenario: "s", Verdict: reports.None, Reason: "panic", Detail: strings.Repeat("word ", 60),
	}}}
	for line := range strings.Lines(write(t, r, Options{Width: 60})) {
		require.LessOrEqual(t, ansi.PrintableRuneWidth(strings.TrimRight(line, "\n")), 60, line)
	}
}

func TestGitHubShowsNineAndSaysHowManyMore(t *testing.T) {
	text := write(t, crowd(30), Options{Format: "github"})
	var commands []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "::") {
			commands = append(commands, line)
		}
	}
	require.Len(t, commands, 10)
	// Thirty leaks, three findings of the walk, one warning: 34 - 9.
	require.Equal(t, "::error title=kmemgate::and 25 more findings; the log and report.json have them all\n", commands[9])
	require.Equal(t, 30, strings.Count(text, ": error: memory leak in leak_"), "the log has a line for each")
	require.Contains(t, text, "\nleaky.c:1: error: memory leak in leak_0 [kmemgate]\n")
	require.Contains(t, write(t, crowd(9), Options{Format: "github"}), "and 4 more findings")
}

func TestMarkdownIsCutWhereGitHubWouldRefuseIt(t *testing.T) {
	text := write(t, crowd(5000), Options{Format: "markdown", FullReport: "https://example.org/run/1"})
	require.Less(t, len(text), 900_000)
	require.Greater(t, len(text), 800_000, "and no sooner")
	require.Contains(t, text, "**This page was cut to what GitHub shows.** [The whole report](<https://example.org/run/1>)")
	require.Equal(t, strings.Count(text, "<details>"), strings.Count(text, "</details>"), "no section is cut in half")
	require.True(t, strings.HasPrefix(text, "### ❌ kmemgate: leaks — 5000 new leaks"))
	require.NotContains(t, write(t, sample(), Options{Format: "markdown"}), "was cut")
	for _, hostile := range []string{"javascript:alert(1)", "x> [a](b", ""} {
		require.NotContains(t, write(t, crowd(5000), Options{Format: "markdown", FullReport: hostile}), "](<", hostile)
	}
}

func TestTextOfManyLeaksStaysReadable(t *testing.T) {
	text := write(t, crowd(5000), Options{})
	require.Equal(t, textDetailed, strings.Count(text, "\n    - {signature: "), "told in full")
	require.Contains(t, text, "… and 4775 more leaks, all in report.json")
	require.Less(t, strings.Count(text, "\n"), 2000)
	require.Equal(t, 2, strings.Count(text, "LEAKS  5000 new leaks"), "at the top and, as that has scrolled away, at the end")
}

func TestGreenIsShortAndTellsWhatItDid(t *testing.T) {
	r := sample()
	r.Verdict, r.Runs, r.Warnings = reports.Clean, r.Runs[4:], nil
	require.Equal(t, `CLEAN  nothing new in 1 run

  6.12.117  x86_64  quiet  clean  nothing new  1 load, 0 allocations, 0 devices, canary 24/24, warp clone

warning: 6.12.117 x86_64 quiet: the driver allocated nothing: nothing was tested

evidence:  out/6.12.117/x86_64/quiet
reproduce: kmemgate run --kernel 6.12.117 --arch x86_64 drivers/quiet
`, write(t, r, Options{OutDir: "out"}))
}

func TestSourcePaths(t *testing.T) {
	opt := Options{SourceDir: "drivers/leaky"}
	for _, c := range []struct{ file, module, want string }{
		{"leaky.c", "leaky", "drivers/leaky/leaky.c"},
		{"sub/x.h", "leaky", "drivers/leaky/sub/x.h"},
		{"include/linux/slab.h", "leaky", "include/linux/slab.h"}, // inlined from the kernel's
		{"mm/slub.c", "", "mm/slub.c"},
		{"/abs/x.c", "leaky", "/abs/x.c"},
		{"", "leaky", ""},
	} {
		require.Equal(t, c.want, opt.sourcePath(c.file, c.module))
	}
}

func TestWords(t *testing.T) {
	require.Equal(t, "1 byte", size(1))
	require.Equal(t, "1.5 KiB", size(1536))
	require.Equal(t, "-8 bytes", size(-8), "nonsense is shown, not turned into 16 EiB")
	require.Equal(t, "when allocation 7 fails", walkNote([]int{7}))
	require.Equal(t, "when allocation 1, 2, 3, 4, 5 or one of 2 others fails", walkNote([]int{1, 2, 3, 4, 5, 6, 7}))
	require.Equal(t, "1 object of 8 bytes and 1 object reachable only from it, 16 bytes in all, 1.5 per cycle",
		amount(reports.Leak{Count: 2, Size: 8, Bytes: 16, PerCycle: 1.5, Children: 1}))
	require.Equal(t, `- {signature: "a\"b\\c", reason: "say why it is harmless"}`, suppression(reports.Leak{Signature: `a"b\c`}))
}

// TestSuppressionIsYAML: what is pasted into kmemgate.yml means what it says.
func TestSuppressionIsYAML(t *testing.T) {
	for _, name := range hostile {
		var list []struct{ Signature, Reason string }
		require.NoError(t, yaml.Unmarshal([]byte(suppression(reports.Leak{Signature: clean(name)})), &list), "%q", name)
		require.Equal(t, clean(name), list[0].Signature)
	}
}

// TestDetailOfSeveralLines: lines at a terminal, one where there is room for one.
func TestDetailOfSeveralLines(t *testing.T) {
	r := reports.NewReport([]reports.Run{{
		Kernel: "6.12.117", Arch: "x86_64", Scenario: "s", Verdict: reports.None, Reason: "load-failed",
		Detail: "load s: ENODEV:\n[ 1.0] s: no such thing\n::error::mine\x1b[31m", Leaks: []reports.Leak{},
	}})
	require.Contains(t, write(t, r, Options{}), "  load s: ENODEV:\n  [ 1.0] s: no such thing\n  \\::error::mine\\x1b[31m\n")
	require.Contains(t, write(t, r, Options{Format: "github"}), "load-failed: load s: ENODEV:; [ 1.0] s: no such thing; \\::error::mine\\x1b[31m")
}
