// Package actions runs the action and the reusable workflow on this machine,
// with nektos/act. It stands apart from ./... : make test-actions.
package actions

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
)

const (
	leaky = "../../scenarios/leak-on-exit"
	fixed = "../../scenarios/clean"
)

// row is a run in the table of the step summary.
var row = regexp.MustCompile(`\| <code>6\.12\.\d+</code> \| <code>x86\\_64</code> \|`)

func TestActions(t *testing.T) {
	action, reusable := documented(t, 0), documented(t, 1)
	g := newGitHub(t, action, reusable)
	g.bringKernel(t)
	t.Run("red, then green", func(t *testing.T) { redThenGreen(t, g.with(t), action) })
	t.Run("no verdict", func(t *testing.T) { noVerdict(t, g.with(t), action) })
	t.Run("inputs are no shell text", func(t *testing.T) { inputsAreNoShellText(t, g.with(t)) })
	t.Run("reusable workflow", func(t *testing.T) { reusableWorkflow(t, g.with(t), reusable) })
}

// The eight lines of docs/actions.md: red with the line that allocates, green
// after the fix, from the cache.
func redThenGreen(t *testing.T, g *github, workflow string) {
	push := event{name: "push", workflow: workflow, payload: pushed}

	red := g.run(t, push, g.commit(t, driver(t, leaky, "")))
	require.Equal(t, map[string]string{"leaks": "failure"}, red.results())
	line := lineOf(t, readFile(t, leaky+"/note.c"), "n->text = kzalloc(")
	errors := red.errors()
	require.Len(t, errors, 1)
	require.Contains(t, errors[0].message, "1 object of 256 bytes\n")
	errors[0].message = ""
	require.Equal(t, annotation{file: "note.c", line: line, title: "memory leak in note_create"}, errors[0])
	summary := red.summary("leaks")
	require.Contains(t, summary, "1 new leak (1 object, 256 bytes)")
	require.Regexp(t, row, summary)
	require.Contains(t, summary, "note.c:"+line)
	require.Contains(t, summary, "kmemgate run . --kernel 6.12 --arch x86_64\n", "a line for the reader's own clone")
	out := red.outputs()
	require.Equal(t, []string{"leaks", "1", "256"}, []string{out["verdict"], out["new-leaks"], out["leaked-bytes"]})
	evidence := g.artifacts(t, "kmemgate-leaks-*")
	require.Len(t, evidence, 1)
	require.FileExists(t, filepath.Join(evidence[0], "report.json"))
	require.Equal(t, filepath.Base(out["report"]), "report.json")
	require.Contains(t, readFile(t, filepath.Join(evidence[0], filepath.Base(out["html"]))), "note_create")
	require.Contains(t, red.String(), "Cache not found")
	require.Contains(t, red.String(), "Cache saved with key: kmemgate-")

	require.NoError(t, os.RemoveAll(g.cache)) // another runner
	green := g.run(t, push, g.commit(t, driver(t, fixed, "")))
	require.Equal(t, map[string]string{"leaks": "success"}, green.results())
	require.Empty(t, green.errors())
	require.Contains(t, green.summary("leaks"), "kmemgate: clean")
	out = green.outputs()
	require.Equal(t, []string{"clean", "0", "0"}, []string{out["verdict"], out["new-leaks"], out["leaked-bytes"]})
	require.Len(t, g.artifacts(t, "*"), 1, "a green run uploads nothing")
	require.Contains(t, green.String(), "Cache restored from key: kmemgate-")
	for _, cold := range []string{"building with", "compiling", "template: booting", "Cache saved"} {
		require.NotContains(t, green.String(), cold, "the cache had it")
	}
	// Where nothing is cold it takes seconds: the log has them (act push: 12.3 s).
}

// A driver that does not compile is no pass, and the page says why.
func noVerdict(t *testing.T, g *github, workflow string) {
	files := driver(t, fixed, "")
	files["note.c"] += "#error not today\n"
	l := g.run(t, event{name: "push", workflow: workflow, payload: pushed}, g.commit(t, files))
	require.Equal(t, map[string]string{"leaks": "failure"}, l.results())
	require.Equal(t, "none", l.outputs()["verdict"])
	require.Len(t, l.errors(), 1)
	require.Contains(t, l.errors()[0].title, "no verdict")
	require.Contains(t, l.summary("leaks"), "not today")
}

// What a stranger writes in an input is an argument and never shell text.
func inputsAreNoShellText(t *testing.T, g *github) {
	pwned := filepath.Join(t.TempDir(), "pwned")
	hostile := fmt.Sprintf(`"; touch %[1]s; $(touch %[1]s) '; touch %[1]s; '`, pwned)
	var with strings.Builder
	inputs := 0
	for _, line := range strings.Split(section(readFile(t, "../../action.yml"), "inputs:", "outputs:"), "\n") {
		name, isInput := strings.CutSuffix(strings.TrimPrefix(line, "  "), ":")
		if !isInput || strings.HasPrefix(name, " ") || name == "version" {
			continue
		}
		inputs++
		fmt.Fprintf(&with, "          %s: %q\n", name, hostile)
	}
	require.Equal(t, 11, inputs, "every input but version, which the second step has")
	workflow := `on: push
jobs:
  hostile:
    runs-on: ubuntu-latest
    steps:
      - uses: kmemgate/kmemgate@v1
        continue-on-error: true
        with:
` + with.String() + `      - uses: kmemgate/kmemgate@v1
        with: {version: ` + fmt.Sprintf("%q", hostile) + "}\n"
	l := g.run(t, event{name: "push", workflow: workflow, payload: pushed}, g.commit(t, driver(t, leaky, "")))
	require.NoFileExists(t, pwned)
	require.Equal(t, map[string]string{"hostile": "failure"}, l.results())
	require.Contains(t, l.String(), "kmemgate: --cycles ", "the gate was reached")
	require.Contains(t, l.String(), "kmemgate@\"; touch", "so was go install")
}

// The reusable workflow: a matrix, one merged report, SARIF where it is allowed.
func reusableWorkflow(t *testing.T, g *github, workflow string) {
	for old, text := range map[string]string{`"6.12 6.1"`: `"6.12 debian:6.12"`, "x86_64 arm64": "x86_64", "working-directory: .": "working-directory: drivers/note"} {
		require.Contains(t, workflow, old)
		workflow = strings.Replace(workflow, old, text, 1) // the kernel that is at hand
	}
	base := g.commit(t, driver(t, leaky, "drivers/note"))
	line := lineOf(t, readFile(t, leaky+"/note.c"), "n->text = kzalloc(")

	t.Run("push", func(t *testing.T) {
		l := g.run(t, event{name: "push", workflow: workflow, payload: pushed}, base)
		results := l.results()
		require.Equal(t, "failure", results["gate"])
		require.Equal(t, "failure", results["report"])
		require.Equal(t, "success", results["sarif"])
		require.Len(t, l.errors(), 2, "one a cell")
		for _, e := range l.errors() {
			require.Equal(t, []string{"drivers/note/note.c", line}, []string{e.file, e.line})
		}
		summary := l.summary("report")
		require.Contains(t, summary, "1 new leak")
		require.Equal(t, 2, len(row.FindAllString(summary, -1)), "one row a cell")
		sarif := filepath.Join(g.dir, "sarif/report.sarif")
		require.Contains(t, readFile(t, sarif), `"drivers/note/note.c"`)
		validate(t, "../../reports/render/testdata/sarif-schema-2.1.0.json", sarif)
		cells := g.artifacts(t, "kmemgate-*-x86_64/report.json")
		require.Len(t, cells, 2)
		for _, cell := range cells {
			validate(t, "../../docs/report.schema.json", cell)
		}
		require.NoError(t, os.RemoveAll(filepath.Join(g.dir, "sarif")))
	})

	// The base branch leaks; the fork's pull request adds a leak of its own, and
	// is red for that one alone. Nothing of it goes to code scanning.
	t.Run("pull request of a fork", func(t *testing.T) {
		workflow := strings.Replace(workflow, " debian:6.12", "", 1)
		git(t, g.repository(), "checkout", "--quiet", "-b", "fork")
		files := driver(t, leaky, "drivers/note")
		note := files["drivers/note/note.c"]
		for old, text := range map[string]string{
			"static int __init note_init(void)\n": forget + "static int __init note_init(void)\n",
			"\tnote = note_create();\n":           "\tif (note_forget())\n\t\treturn -ENOMEM;\n\tnote = note_create();\n",
		} {
			require.Equal(t, 1, strings.Count(note, old))
			note = strings.Replace(note, old, text, 1)
		}
		head := g.commit(t, map[string]string{"drivers/note/note.c": note})
		git(t, g.repository(), "checkout", "--quiet", "--detach", base)
		git(t, g.repository(), "-c", "user.name=GitHub", "-c", "user.email=x@example.org", "merge", "--quiet", "--no-ff", "--message=Merge", head)
		merge := git(t, g.repository(), "rev-parse", "HEAD")
		l := g.run(t, event{name: "pull_request", workflow: workflow, payload: map[string]any{
			"number":     7,
			"repository": repository,
			"pull_request": map[string]any{
				"number": 7,
				"base":   map[string]any{"ref": "main", "sha": base, "repo": repository},
				"head":   map[string]any{"ref": "fork", "sha": head, "repo": map[string]any{"full_name": "stranger/note"}},
			},
		}}, merge)
		results := l.results()
		require.Equal(t, "failure", results["gate"])
		require.NotEqual(t, "success", results["sarif"])
		require.NoDirExists(t, filepath.Join(g.dir, "sarif"))
		require.Len(t, l.errors(), 1, "what the base branch leaks is known")
		e := l.errors()[0]
		require.Equal(t, []string{"drivers/note/note.c", lineOf(t, note, "kmalloc(77"), "memory leak in note_forget"}, []string{e.file, e.line, e.title})
	})
}

const forget = `static noinline int note_forget(void)
{
	void *lost = kmalloc(77, GFP_KERNEL);

	return lost ? 0 : -ENOMEM;
}

`

var (
	repository = map[string]any{"full_name": "someone/note", "default_branch": "main"}
	pushed     = map[string]any{"ref": "refs/heads/main", "repository": repository}
)

// documented is a workflow of docs/actions.md, as it stands there.
func documented(t *testing.T, n int) string {
	t.Helper()
	blocks := strings.Split(readFile(t, "../../docs/actions.md"), "```yaml\n")
	require.Greater(t, len(blocks), n+1)
	text, _, _ := strings.Cut(blocks[n+1], "```")
	return text
}

// driver is a scenario's source, without the kmemgate.yml that a driver of
// somebody else's has not.
func driver(t *testing.T, dir, to string) map[string]string {
	t.Helper()
	return map[string]string{
		filepath.Join(to, "note.c"): readFile(t, filepath.Join(dir, "note.c")),
		filepath.Join(to, "Kbuild"): readFile(t, filepath.Join(dir, "Kbuild")),
	}
}

// lineOf is the number of the one line that holds text.
func lineOf(t *testing.T, source, text string) string {
	t.Helper()
	require.Equal(t, 1, strings.Count(source, text), text)
	return strconv.Itoa(1 + strings.Count(source[:strings.Index(source, text)], "\n"))
}

// validate checks a file of a real run against a published schema.
func validate(t *testing.T, schema, file string) {
	t.Helper()
	s, err := jsonschema.NewCompiler().Compile(schema)
	require.NoError(t, err)
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(readFile(t, file)))
	require.NoError(t, err)
	require.NoError(t, s.Validate(value))
}

func section(text, from, to string) string {
	_, text, _ = strings.Cut(text, "\n"+from+"\n")
	text, _, _ = strings.Cut(text, "\n"+to+"\n")
	return text
}

func (g *github) artifacts(t *testing.T, pattern string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(g.dir, "artifacts", pattern))
	require.NoError(t, err)
	return found
}

// bringKernel puts this machine's 6.12 and guest programs into the jobs' cache:
// a job that makes them takes minutes. The kernel's source, 80,000 files, is
// only linked to.
func (g *github) bringKernel(t *testing.T) {
	t.Helper()
	skip := t.Skipf
	if os.Getenv("CI") == "true" {
		skip = t.Fatalf
	}
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		skip("no QEMU: %v", err)
	}
	var of = map[string]string{}
	for _, what := range []string{"build", "source"} {
		cmd := exec.CommandContext(t.Context(), "go", "run", ".", "kernel", "path", "--what", what, "6.12/x86_64")
		cmd.Dir = "../.."
		out, err := cmd.Output()
		if err != nil {
			skip("no kernel: kmemgate kernel build 6.12/x86_64")
		}
		of[what] = filepath.Dir(strings.TrimSpace(string(out))) // the cache entry
	}
	cache := filepath.Join(g.cache, "kmemgate")
	for _, kind := range []string{"kernels", "sources"} {
		require.NoError(t, os.MkdirAll(filepath.Join(cache, kind), 0o755))
	}
	run(t, ".", "cp", "-a", of["build"], of["build"]+".ok", filepath.Join(cache, "kernels"))
	run(t, ".", "cp", "-a", of["source"]+".ok", filepath.Join(cache, "sources"))
	require.NoError(t, os.Symlink(of["source"], filepath.Join(cache, "sources", filepath.Base(of["source"]))))
	if userland := filepath.Join(of["build"], "../../userland"); isDir(userland) {
		run(t, ".", "cp", "-a", userland, cache)
	}
}

func isDir(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.IsDir()
}
