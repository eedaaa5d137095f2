package actions

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/reports"
)

// sweepDouble is kmemgate sweep without guests: the night's report for the kernel
// and architecture that it is asked for.
const sweepDouble = `#!/usr/bin/env bash
set -euo pipefail
again=
while (($#)); do
	case $1 in
	--kernel) kernel=$2; shift 2 ;;
	--arch) arch=$2; shift 2 ;;
	--out) out=$2; shift 2 ;;
	--shard | --fail-on) shift 2 ;;
	--group) again=-again; shift 2 ;;
	*) echo "$kernel $arch $1" >>"$DOUBLES/confirmed"; shift ;;
	esac
done
mkdir -p "$out"
cp "$DOUBLES/night/$kernel-$arch$again.json" "$out/report.json"
`

// ghDouble is gh with a tracker of issues in a file.
const ghDouble = `#!/usr/bin/env bash
set -euo pipefail
issues="$DOUBLES/issues.json"
[[ -e $issues ]] || echo '[]' >"$issues"
change() { jq "$@" "$issues" >"$issues.new" && mv "$issues.new" "$issues"; }
case "$1 $2" in
"label create") ;;
"issue list") cat "$issues" ;;
"issue create") change --arg title "$4" --arg body "$(cat)" '. + [{number: (length + 1), $title, $body, state: "OPEN"}]' ;;
"issue edit") change --arg n "$3" --arg body "$(cat)" '(.[] | select(.number == ($n | tonumber))).body = $body' ;;
"issue close") change --arg n "$3" '(.[] | select(.number == ($n | tonumber))).state = "CLOSED"' ;;
*) echo "gh $*: not known here" >&2; exit 1 ;;
esac
`

// issue is one of the tracker's.
type issue struct{ Title, Body, State string }

// nightly.yml on two nights: a module leaks, each cell confirms it, and an issue is
// opened; then it is fixed, and the issue is closed. The cells are GitHub's matrix
// of the plan, the sweeps are played; the rest is what runs every night.
func TestNightly(t *testing.T) {
	workflow := nightly(t)
	g := newGitHub(t, workflow)
	g.cache, g.dir = filepath.Join(t.TempDir(), "cache"), t.TempDir()
	bin := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(bin, "gh"), []byte(ghDouble), 0o755))
	t.Setenv("PATH", bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
	require.NoError(t, os.WriteFile(filepath.Join(g.dir, "sweep"), []byte(sweepDouble), 0o755))
	g.commit(t, map[string]string{".first": ""})
	copySource(t, g.repository()) // the workflow uses the actions of its own repository
	commit := g.commit(t, nil)

	began := time.Now().Add(-2 * time.Hour)
	for n, night := range []struct {
		leaks     bool
		confirmed string
		state     string
	}{
		{true, "6.12 arm64 dummy\n6.12 x86_64 dummy\n", "OPEN"},
		{false, "", "CLOSED"},
	} {
		g.writeNight(t, n+1, began.Add(time.Duration(n)*time.Hour), night.leaks)
		l := g.run(t, event{name: "workflow_dispatch", workflow: workflow, payload: pushed}, commit)
		require.Equal(t, map[string]string{"plan": "success", "sweep": "success", "history": "success"}, l.results())
		require.Len(t, g.artifacts(t, "cell-6.12-*-of-2"), 4, "two shards of two architectures")
		require.Equal(t, night.confirmed, g.confirmed(t))
		issues := g.issues(t)
		require.Len(t, issues, 1)
		require.Equal(t, "memory leak in dummy_init_one (dummy, 6.12)", issues[0].Title)
		require.Equal(t, night.state, issues[0].State)
		require.Contains(t, issues[0].Body, "`dummy.c:151`")
		require.Contains(t, readFile(t, filepath.Join(g.dir, "artifacts/history/history.html")), "dummy_init_one")
	}
}

// nightly is nightly.yml without the jobs that test kmemgate itself, and without
// that which builds kernels.
func nightly(t *testing.T) string {
	t.Helper()
	text := readFile(t, "../workflows/nightly.yml")
	cut := func(from, to string) {
		before, rest, ok := strings.Cut(text, from)
		require.True(t, ok, from)
		_, after, ok := strings.Cut(rest, to)
		require.True(t, ok, to)
		text = before + to + after
	}
	cut("  scenarios:\n", "  plan:\n")
	cut("  # One machine builds", "  sweep:\n")
	for old, replacement := range map[string]string{
		"needs: [plan, kernels]":                "needs: [plan]",
		"--kernel 6.1 --kernel 6.12 --kernel 7": "--kernel 6.12",
		"run: .github/action/packages":          "run: true",
		"fail-fast: false\n":                    "fail-fast: false\n      max-parallel: 1\n", // as in oneCellAtATime
	} {
		require.Equal(t, 1, strings.Count(text, old), old)
		text = strings.Replace(text, old, replacement, 1)
	}
	require.Equal(t, 2, strings.Count(text, "kmemgate sweep "))
	return strings.ReplaceAll(text, "kmemgate sweep ", `bash "$DOUBLES/sweep" `)
}

// writeNight writes what a night's sweeps find, and what sweeping again does.
func (g *github) writeNight(t *testing.T, n int, began time.Time, leaks bool) {
	t.Helper()
	dir := filepath.Join(g.dir, "night")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	for _, arch := range []string{"x86_64", "arm64"} {
		for at, suffix := range []string{"", "-again"} {
			run := reports.Run{
				Kernel: fmt.Sprintf("6.12.%d", 100+n), Arch: arch, Scenario: "dummy", Verdict: reports.Clean,
				Started: began.Add(time.Duration(at) * time.Minute).UTC().Format(time.RFC3339),
				Built:   &reports.Built{Content: fmt.Sprintf("%s, night %d", arch, n)},
			}
			if leaks {
				run.Verdict, run.Leaks = reports.Leaks, []reports.Leak{{
					Signature: "0123456789abcdef", Title: "memory leak in dummy_init_one", Status: reports.New, Kind: "object",
					Function: "dummy_init_one", Module: "dummy", File: "dummy.c", Line: 151, Size: 64, Count: 1, Bytes: 64,
					Records: []string{"unreferenced object 0xffff888003b6c000 (size 64):"},
				}}
			}
			f, err := os.Create(filepath.Join(dir, "6.12-"+arch+suffix+".json"))
			require.NoError(t, err)
			require.NoError(t, reports.WriteJSON(f, reports.NewReport([]reports.Run{run})))
			require.NoError(t, f.Close())
		}
	}
}

// confirmed are the modules that were swept again since the last question, a
// line each; the shards of a cell here all have the same ones.
func (g *github) confirmed(t *testing.T) string {
	t.Helper()
	path := filepath.Join(g.dir, "confirmed")
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	lines := run(t, ".", "sort", "-u", path)
	require.NoError(t, os.Remove(path))
	return lines + "\n"
}

func (g *github) issues(t *testing.T) (all []issue) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(readFile(t, filepath.Join(g.dir, "issues.json"))), &all))
	return all
}
