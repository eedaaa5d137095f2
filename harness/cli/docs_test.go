package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
	"mvdan.cc/sh/v3/syntax"
)

// notRun are the words behind "sh" in a fence whose commands are not run here,
// each with its reason. They are still read by the command's own flags. A block
// with "vm" is run where its kernel is built, one without a word always.
var notRun = map[string]string{
	"network": "it downloads or uploads",
	"root":    "it changes the machine",
	"hours":   "it builds kernels, or boots one guest after another",
	"person":  "a person types into what it starts",
	"yours":   "it speaks of what only the reader has",
}

// fence is a fenced block of a page.
type fence struct {
	page string
	line int // of the opening fence
	info string
	text string
}

func (f fence) name() string { return fmt.Sprintf("%s:%d", filepath.Base(f.page), f.line) }

// need is the word behind "sh".
func (f fence) need() string { return strings.TrimSpace(strings.TrimPrefix(f.info, "sh")) }

var fenceLine = regexp.MustCompile("^\\s*```(.*)$")

// fences reads the fenced blocks of a page.
func fences(t *testing.T, page string) (all []fence) {
	t.Helper()
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	var open *fence
	for i, line := range strings.Split(string(text), "\n") {
		mark := fenceLine.FindStringSubmatch(line)
		switch {
		case mark == nil && open != nil:
			open.text += line + "\n"
		case mark != nil && open != nil:
			all, open = append(all, *open), nil
		case mark != nil:
			open = &fence{page: page, line: i + 1, info: strings.TrimSpace(mark[1])}
		}
	}
	require.Nil(t, open, "%s: a fence is not closed", page)
	return all
}

// docPages are all pages that speak to users.
func docPages(t *testing.T) []string {
	t.Helper()
	pages, err := filepath.Glob("../../docs/*.md")
	require.NoError(t, err)
	require.NotEmpty(t, pages)
	return append(pages, "../../README.md", "../../CONTRIBUTING.md")
}

// Every block with a command says how it is tested, and every command in it is
// one that kmemgate takes, with those flags and as many arguments.
func TestDocsCommandsAreKnown(t *testing.T) {
	commands := 0
	for _, page := range docPages(t) {
		for _, f := range fences(t, page) {
			if f.info == "" {
				require.NotRegexp(t, `(?m)^(kmemgate|make|go) `, f.text, "%s: commands stand in a block of ```sh", f.name())
				continue
			}
			if f.info != "sh" && !strings.HasPrefix(f.info, "sh ") {
				continue
			}
			if need := f.need(); need != "" && need != "vm" {
				require.Contains(t, notRun, need, "%s: ```sh %s: want vm, or one of notRun", f.name(), need)
			}
			for _, words := range kmemgateCalls(t, f.name(), f.text) {
				require.NoError(t, takes(words), "%s: kmemgate %s", f.name(), strings.Join(words, " "))
				commands++
			}
		}
	}
	require.Greater(t, commands, 20)
}

var codeSpan = regexp.MustCompile("`kmemgate ([a-z][^`]*)`")

// What a sentence calls a command is one, and so are its flags; the arguments
// may be words such as DIR….
func TestDocsSpansAreKnown(t *testing.T) {
	spans := 0
	for _, page := range docPages(t) {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, m := range codeSpan.FindAllStringSubmatch(string(text), -1) {
			words := strings.Fields(strings.NewReplacer("[", "", "]", "", "\n", " ").Replace(m[1]))
			if words[0] == "cache:" {
				continue
			}
			c, rest, err := newRoot().Find(words)
			require.NoError(t, err, "%s: `kmemgate %s`", page, m[1])
			for _, word := range rest {
				name, isFlag := strings.CutPrefix(word, "--")
				name, _, _ = strings.Cut(name, "=")
				require.True(t, !isFlag || c.Flag(name) != nil || name == "help", "%s: `kmemgate %s`: no flag --%s", page, m[1], name)
			}
			spans++
		}
	}
	require.Greater(t, spans, 10)
}

// kmemgateCalls are the arguments of each call of kmemgate in a script.
func kmemgateCalls(t *testing.T, name, script string) (calls [][]string) {
	t.Helper()
	file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(script), name)
	require.NoError(t, err)
	syntax.Walk(file, func(node syntax.Node) bool {
		call, ok := node.(*syntax.CallExpr)
		if !ok || len(call.Args) == 0 {
			return true
		}
		var words []string
		for _, arg := range call.Args {
			words = append(words, wordText(arg))
		}
		if words[0] == "sudo" {
			words = words[1:]
		}
		switch {
		case filepath.Base(words[0]) == "kmemgate":
			calls = append(calls, words[1:])
		case len(words) > 2 && words[0] == "go" && words[1] == "run" && strings.Contains(words[2], "kmemgate/kmemgate"):
			calls = append(calls, words[3:])
		}
		return true
	})
	return calls
}

// wordText is a word without its quotes; what the shell would put in stays as it
// is written.
func wordText(word *syntax.Word) string {
	var text bytes.Buffer
	for _, part := range word.Parts {
		switch p := part.(type) {
		case *syntax.Lit:
			text.WriteString(p.Value)
		case *syntax.SglQuoted:
			text.WriteString(p.Value)
		case *syntax.DblQuoted:
			text.WriteString(wordText(&syntax.Word{Parts: p.Parts}))
		default:
			text.WriteString("X")
		}
	}
	return text.String()
}

// takes tells whether kmemgate knows the command, its flags and how many
// arguments it wants.
func takes(words []string) error {
	root := newRoot()
	root.InitDefaultVersionFlag()
	c, rest, err := root.Find(words)
	if err != nil {
		return err
	}
	c.InitDefaultHelpFlag()
	if err := c.ParseFlags(rest); err != nil {
		return ignoreHelp(err)
	}
	if c.HasSubCommands() && c.Flags().NArg() > 0 {
		return unknownCommand(c, c.Flags().Arg(0))
	}
	return validArgs(c)
}

func ignoreHelp(err error) error {
	if errors.Is(err, pflag.ErrHelp) {
		return nil
	}
	return err
}

func validArgs(c *cobra.Command) error {
	if help, _ := c.Flags().GetBool("help"); help {
		return nil
	}
	return c.ValidateArgs(c.Flags().Args())
}

// The check itself: it refuses what kmemgate does not know.
func TestDocsRefusesUnknownCommands(t *testing.T) {
	for _, line := range []string{"kmemgate rum", "kmemgate run --kernels 6.12", "kmemgate kernel", "kmemgate run a b", "kmemgate kernel bulid 6.12", "kmemgate history nwe"} {
		calls := kmemgateCalls(t, "line", line)
		require.Len(t, calls, 1)
		if line == "kmemgate kernel" {
			continue // a group by itself prints what there is
		}
		require.Error(t, takes(calls[0]), line)
	}
}

// Every block of sh without a word is typed into a shell, in a driver's
// repository; and with a kernel those of "vm" too.
func TestDocsCommandsRun(t *testing.T) {
	ran := 0
	for _, page := range docPages(t) {
		for _, f := range fences(t, page) {
			if f.info != "sh" && f.info != "sh vm" {
				continue
			}
			ran++
			t.Run(f.name(), func(t *testing.T) {
				if f.info == "sh vm" {
					if testing.Short() {
						t.Skip("boots a VM")
					}
					skipWithoutKernel(t, "6.12")
				}
				runBlock(t, f)
			})
		}
	}
	require.NotZero(t, ran)
}

// blockShell lets a leak pass, exit 1, for pages show leaks; wrong usage and a
// run without verdict end the block.
const blockShell = `set -eu
kmemgate() { command kmemgate "$@" || { status=$?; [ $status -eq 1 ] || exit $status; }; }
`

func runBlock(t *testing.T, f fence) {
	t.Helper()
	if f.info == "sh" { // nothing here has business with the user's cache
		t.Setenv("XDG_CACHE_HOME", t.TempDir())
		t.Setenv("HOME", t.TempDir())
	}
	out, err := inShell(t, sampleRepository(t), blockShell+f.text)
	require.NoError(t, err, "%s\n%s", f.text, out)
}

// sampleRepository is what the pages' commands find: a driver in git, in
// drivers/foo and at the root, and out/, what its run left behind.
func sampleRepository(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, place := range []string{".", "drivers/foo"} {
		require.NoError(t, os.CopyFS(filepath.Join(dir, place), os.DirFS("../../scenarios/leak-on-exit")))
	}
	report := recordedReport(t)
	for _, place := range []string{"out", "cell-1", "cell-2"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, place), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, place, "report.json"), report, 0o644))
	}
	for _, words := range [][]string{{"init", "-q", "-b", "main"}, {"add", "-A"}, {"commit", "-q", "-m", "driver"}, {"tag", "v1.2"}} {
		git := exec.Command("git", slices.Concat([]string{"-c", "user.name=n", "-c", "user.email=n@example.org"}, words)...)
		git.Dir = dir
		out, err := git.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	return dir
}

// recordedReport is a report of a real run, the one that the scripts render.
func recordedReport(t *testing.T) []byte {
	t.Helper()
	archive, err := txtar.ParseFile("testdata/script/report.txtar")
	require.NoError(t, err)
	i := slices.IndexFunc(archive.Files, func(f txtar.File) bool { return f.Name == "out/report.json" })
	require.GreaterOrEqual(t, i, 0)
	return archive.Files[i].Data
}

var pageLink = regexp.MustCompile(`\]\(([^):]+?)(?:#([^)]*))?\)`)

// A page leads nowhere where there is nothing.
func TestDocsLinks(t *testing.T) {
	for _, page := range docPages(t) {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, m := range pageLink.FindAllStringSubmatch(string(text), -1) {
			there := filepath.Join(filepath.Dir(page), m[1])
			_, err := os.Stat(there)
			require.NoError(t, err, "%s: %s", page, m[0])
			if m[2] != "" {
				require.Contains(t, anchors(t, there), m[2], "%s: %s", page, m[0])
			}
		}
	}
}

// anchors are the names by which GitHub reaches a page's headings.
func anchors(t *testing.T, page string) (all []string) {
	t.Helper()
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	drop := regexp.MustCompile("[^a-z0-9 _-]")
	for _, line := range strings.Split(string(text), "\n") {
		if heading := strings.TrimLeft(line, "#"); heading != line {
			name := drop.ReplaceAllString(strings.ToLower(strings.TrimSpace(heading)), "")
			all = append(all, strings.ReplaceAll(name, " ", "-"))
		}
	}
	return all
}
