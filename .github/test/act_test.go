package actions

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// github plays GitHub on this machine: nektos/act runs the jobs, doubles/ are
// in the place of the actions that need GitHub's services.
type github struct {
	dir     string // doubles' state: repository/, cache/, artifacts/, sarif/
	cache   string // XDG_CACHE_HOME of the jobs
	act     string // the program
	mapping []string
	self    string // this project's source, as kmemgate/kmemgate@v1
}

// with is the same machine and source, with a state of its own.
func (g *github) with(t *testing.T) *github {
	t.Helper()
	own := *g
	own.dir = t.TempDir()
	return &own
}

// usesPattern finds "uses: owner/repo/path@ref".
var usesPattern = regexp.MustCompile(`uses: *([\w.-]+/[\w.-]+)(?:/[\w./-]+)?@([\w.-]+)`)

// newGitHub maps every action that the workflows and this project's actions
// use to its double, and kmemgate's own to this source.
func newGitHub(t *testing.T, workflows ...string) *github {
	t.Helper()
	root := t.TempDir()
	g := &github{cache: filepath.Join(root, "cache"), act: buildAct(t), self: filepath.Join(root, "kmemgate")}
	copySource(t, g.self)
	g.oneCellAtATime(t)
	doubles, err := filepath.Abs("doubles")
	require.NoError(t, err)
	text := strings.Join(workflows, "\n")
	for _, file := range []string{"action.yml", ".github/action/setup/action.yml", ".github/workflows/gate.yml"} {
		text += readFile(t, filepath.Join(g.self, file))
	}
	for _, m := range usesPattern.FindAllStringSubmatch(text, -1) {
		folder := filepath.Join(doubles, m[1])
		if m[1] == "kmemgate/kmemgate" {
			folder = g.self
		}
		require.DirExists(t, folder, "%s has no double", m[1])
		g.mapping = append(g.mapping, "--local-repository", m[1]+"@"+m[2]+"="+folder)
	}
	return g
}

// oneCellAtATime makes gate.yml's cells wait for each other: act's map of local
// repositories is not made for jobs side by side (local_repository_cache.go).
func (g *github) oneCellAtATime(t *testing.T) {
	t.Helper()
	path := filepath.Join(g.self, ".github/workflows/gate.yml")
	text := readFile(t, path)
	require.Equal(t, 1, strings.Count(text, "fail-fast: false\n"))
	text = strings.Replace(text, "fail-fast: false\n", "fail-fast: false\n      max-parallel: 1\n", 1)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
}

func buildAct(t *testing.T) string {
	t.Helper()
	act := filepath.Join(t.TempDir(), "act")
	run(t, "../tools/act", "go", "build", "-o", act, "github.com/nektos/act")
	return act
}

// copySource copies what git tracks or would track: the action as GitHub
// unpacks it, with the changes at hand.
func copySource(t *testing.T, to string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(to, 0o755))
	run(t, "../..", "bash", "-c",
		`git ls-files -z --cached --others --exclude-standard --deduplicate | while read -rd '' f; do [[ ! -e $f ]] || printf '%s\0' "$f"; done | tar -cf - --null -T - | tar -xf - -C "$0"`, to)
}

// event is what a run of a workflow comes from.
type event struct {
	name     string // push or pull_request
	workflow string // the file's text
	payload  map[string]any
}

// entry is a line of act's log.
type entry struct {
	Message   string            `json:"msg"`
	JobID     string            `json:"jobID"`
	StepID    []string          `json:"stepID"`
	Command   string            `json:"command"`
	Name      string            `json:"name"`
	Arg       string            `json:"arg"`
	Pairs     map[string]string `json:"kvPairs"`
	Content   string            `json:"content"`
	JobResult string            `json:"jobResult"`
}

// log is all that a run said.
type log struct {
	entries []entry
}

// run has act run one workflow on the sample repository's commit.
func (g *github) run(t *testing.T, e event, commit string) log {
	t.Helper()
	work := t.TempDir()
	file := filepath.Join(work, "workflow.yml")
	require.NoError(t, os.WriteFile(file, []byte(e.workflow), 0o644))
	payload, err := json.Marshal(e.payload)
	require.NoError(t, err)
	events := filepath.Join(work, "event.json")
	require.NoError(t, os.WriteFile(events, payload, 0o644))
	git(t, g.repository(), "checkout", "--quiet", commit)

	args := append([]string{
		e.name, "--json", "--platform", "ubuntu-latest=-self-hosted", "--directory", g.repository(), "--workflows", file,
		"--eventpath", events, "--no-skip-checkout", "--no-cache-server", "--concurrent-jobs", "1",
		"--action-cache-path", filepath.Join(filepath.Dir(g.cache), "act"),
	}, g.mapping...)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, g.act, args...)
	cmd.Env = append(os.Environ(), "DOUBLES="+g.dir, "XDG_CACHE_HOME="+g.cache, "XDG_CONFIG_HOME="+work, "XDG_DATA_HOME="+work,
		"GOCACHE="+goCache(t), "TMPDIR="+work, "RUNNER_ENVIRONMENT=github-hosted")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	// A killed test takes act along; the jobs' shells then lose their terminal,
	// and kmemgate heeds SIGHUP. The signal is tied to this thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 10 * time.Second
	start := time.Now()
	err = cmd.Run()
	took := time.Since(start)
	var l log
	if testing.Verbose() {
		t.Logf("act %s: %.1f s, %v", e.name, took.Seconds(), err)
	}
	lines := bufio.NewScanner(&out)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e entry
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			e = entry{Message: lines.Text()}
		}
		l.entries = append(l.entries, e)
	}
	require.NoError(t, lines.Err())
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s:\n%s", e.name, l)
		}
	})
	return l
}

func (l log) String() string {
	var b strings.Builder
	for _, e := range l.entries {
		b.WriteString(e.JobID + " | " + strings.TrimRight(e.Message, "\n") + "\n")
	}
	return b.String()
}

// annotation is a workflow command ::error file=…,line=…,title=…::message as
// act read it.
type annotation struct{ file, line, title, message string }

func (l log) errors() (all []annotation) {
	for _, e := range l.entries {
		if e.Command == "error" {
			all = append(all, annotation{e.Pairs["file"], e.Pairs["line"], e.Pairs["title"], e.Arg})
		}
	}
	return all
}

// results are the jobs' results. Of a matrix they are one: the worst.
func (l log) results() map[string]string {
	all := map[string]string{}
	for _, e := range l.entries {
		if e.JobResult != "" && all[e.JobID] != "failure" {
			all[e.JobID] = e.JobResult
		}
	}
	return all
}

// outputs are those of the workflow's own steps, not of steps inside actions.
func (l log) outputs() map[string]string {
	all := map[string]string{}
	for _, e := range l.entries {
		if e.Command == "set-output" && len(e.StepID) == 1 {
			all[e.Name] = e.Arg
		}
	}
	return all
}

// summary is what a job wrote for the page of its run.
func (l log) summary(job string) string {
	var all strings.Builder
	for _, e := range l.entries {
		if e.Command == "summary" && e.JobID == job {
			all.WriteString(e.Content)
		}
	}
	return all.String()
}

func (g *github) repository() string { return filepath.Join(g.dir, "repository") }

// commit replaces the sample repository's files and returns the new commit.
func (g *github) commit(t *testing.T, files map[string]string) string {
	t.Helper()
	repo := g.repository()
	if _, err := os.Stat(repo); err != nil {
		run(t, ".", "git", "init", "--quiet", "--initial-branch=main", repo)
		git(t, repo, "remote", "add", "origin", "https://github.com/someone/note.git")
		git(t, repo, "config", "uploadpack.allowAnySHA1InWant", "true") // as GitHub does
	}
	for name, text := range files {
		path := filepath.Join(repo, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	git(t, repo, "add", "--all")
	git(t, repo, "-c", "user.name=someone", "-c", "user.email=someone@example.org", "commit", "--quiet", "--message=note")
	return git(t, repo, "rev-parse", "HEAD")
}

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	return run(t, dir, "git", args...)
}

// goCache stays the machine's where XDG_CACHE_HOME is the jobs' own.
func goCache(t *testing.T) string { return run(t, ".", "go", "env", "GOCACHE") }

func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "%s %v: %s", name, args, &stderr)
	return strings.TrimSpace(string(out))
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(b)
}
