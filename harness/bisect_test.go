package harness

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/kernels"
	"github.com/kmemgate/kmemgate/reports"
	"github.com/kmemgate/kmemgate/scenarios"
)

// cachedGate is a gate on the user's cache. It skips where the kernel is not
// built there, or there is no QEMU, but never in CI.
func cachedGate(t testing.TB, kernel, arch string) *Gate {
	t.Helper()
	if testing.Short() {
		t.Skip("boots VMs")
	}
	skip := t.Skipf
	if os.Getenv("CI") == "true" {
		skip = t.Fatalf
	}
	if _, err := exec.LookPath(arches[arch].program); err != nil {
		skip("no QEMU: %v", err)
	}
	g := &Gate{Builder: &kernels.Builder{Log: t.Output()}, Host: &Host{Log: t.Logf}, Out: t.TempDir(), Status: t.Logf}
	t.Cleanup(g.Close)
	if _, err := g.Builder.Path(t.Context(), kernels.Spec{Source: kernel, Arch: arch}); err != nil {
		skip("%v", err)
	}
	return g
}

// repository is a git tree that a test writes.
type repository struct {
	t   testing.TB
	dir string
}

func newRepository(t testing.TB) repository {
	t.Helper()
	r := repository{t, t.TempDir()}
	// The same commits have the same names each time: which one git tests in place of
	// one that is skipped hangs on them.
	t.Setenv("GIT_AUTHOR_DATE", "2026-01-01T00:00:00Z")
	t.Setenv("GIT_COMMITTER_DATE", "2026-01-01T00:00:00Z")
	r.git("init", "--quiet", "--initial-branch=main", ".")
	return r
}

func (r repository) git(args ...string) string {
	r.t.Helper()
	out, err := git(r.t.Context(), r.dir, append([]string{"-c", "user.name=Test", "-c", "user.email=test@example.org"}, args...)...)
	require.NoError(r.t, err)
	return out
}

func (r repository) commit(name, content, message string) string {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	require.NoError(r.t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(r.t, os.WriteFile(path, []byte(content), 0o644))
	r.git("add", ".")
	r.git("commit", "--quiet", "--message", message)
	return r.git("rev-parse", "HEAD")
}

// driverHistory writes 64 commits of the driver in scenarios/clean. The 37th
// forgets a kfree; the 32nd, which git tests first, does not compile.
func driverHistory(t *testing.T) (dir string, commits []string) {
	r := newRepository(t)
	source := string(readFile(t, "../scenarios/clean/note.c"))
	const free = "\tkfree(note->text);\n\tkfree(note);"
	require.Contains(t, source, free)
	r.commit("driver/Kbuild", string(readFile(t, "../scenarios/clean/Kbuild")), "note: build")
	for n := 1; n <= 64; n++ {
		text := source
		if n >= 37 {
			text = strings.Replace(source, free, "\tkfree(note);", 1)
		}
		if n == 32 {
			text += "\n#error not yet\n"
		}
		commits = append(commits, r.commit("driver/note.c", fmt.Sprintf("%s\nMODULE_VERSION(\"%d\");\n", text, n), fmt.Sprintf("note: version %d", n)))
	}
	return filepath.Join(r.dir, "driver"), commits
}

func TestBisectNamesThePlantedCommitOf64(t *testing.T) {
	gate := cachedGate(t, "6.12", "x86_64")
	dir, commits := driverHistory(t)
	s, err := scenarios.Load(dir)
	require.NoError(t, err)
	s.Kernels, s.Arches = []string{"6.12"}, []string{"x86_64"}

	begin := time.Now()
	history, err := NewDriverHistory(t.Context(), s, commits[0], "HEAD", gate.Out)
	require.NoError(t, err)
	result := bisected(t, &Bisect{Gate: gate, Versions: history}, begin)
	assert.Equal(t, commits[36], result.First.Version)
	assert.Contains(t, result.First.Title, "note: version 37")
	assert.Contains(t, result.First.Why, "memory leak in note_create  note.c:")
	assert.LessOrEqual(t, len(result.Steps), 2+7, "two ends, six halvings, one that does not compile")
	assert.Equal(t, []Outcome{Good, Bad, Skip}, []Outcome{result.Steps[0].Outcome, result.Steps[1].Outcome, result.Steps[2].Outcome})
	assert.Contains(t, result.Steps[2].Why, "not yet")

	require.NoError(t, history.Close())
	assert.NoDirExists(t, filepath.Join(gate.Out, scratchName))
	text, err := os.Open(filepath.Join(gate.Out, "report.json"))
	require.NoError(t, err)
	defer text.Close()
	report, err := reports.ReadJSON(text)
	require.NoError(t, err)
	assert.FileExists(t, filepath.Join(gate.Out, report.Runs[0].Dir, "kmemleak.txt"))
	assert.Contains(t, report.Runs[0].Reproduce, "checkout "+commits[36][:12])
	assert.NotContains(t, report.Runs[0].Reproduce, scratchName)
	top := repository{t, filepath.Dir(dir)}
	assert.Empty(t, top.git("status", "--porcelain"), "the user's tree is as it was")
	assert.Equal(t, "main", top.git("branch", "--show-current"))
	assert.Empty(t, top.git("for-each-ref", "refs/bisect"), "and so are its refs")
}

// searchAll marks what oracle says until there is nothing left to test.
func searchAll(t *testing.T, v Versions, oracle func(string) Outcome) (suspects []string, tested int) {
	t.Helper()
	good, bad := v.Ends()
	_, err := v.Mark(t.Context(), good, Good)
	require.NoError(t, err)
	next, err := v.Mark(t.Context(), bad, Bad)
	for ; next != ""; tested++ {
		require.NoError(t, err)
		require.Less(t, tested, 100, "the search does not end")
		next, err = v.Mark(t.Context(), next, oracle(next))
	}
	require.NoError(t, err)
	suspects, err = v.Suspects(t.Context())
	require.NoError(t, err)
	return suspects, tested
}

func TestKernelListFindsEveryFirstBadKernel(t *testing.T) {
	var list []string
	for i := range 16 {
		list = append(list, fmt.Sprintf("6.12.%d", i))
	}
	at := map[string]int{}
	for i, k := range list {
		at[k] = i
	}
	for first := 1; first < len(list); first++ {
		v, err := NewKernelList(&scenarios.Scenario{}, list)
		require.NoError(t, err)
		suspects, tested := searchAll(t, v, func(k string) Outcome {
			if at[k] >= first {
				return Bad
			}
			return Good
		})
		assert.Equal(t, list[first:first+1], suspects)
		assert.LessOrEqual(t, tested, 4, "log2(16)")
	}
}

func TestKernelListTellsWhatUntestableKernelsLeaveOpen(t *testing.T) {
	list := []string{"a", "b", "c", "d", "e", "f"}
	v, err := NewKernelList(&scenarios.Scenario{}, list)
	require.NoError(t, err)
	outcomes := map[string]Outcome{"b": Good, "c": Skip, "d": Skip, "e": Bad}
	suspects, _ := searchAll(t, v, func(k string) Outcome { return outcomes[k] })
	assert.Equal(t, []string{"c", "d", "e"}, suspects)
}

func TestGitHistorySearchesMergesAndPassesOverWhatCannotBeTested(t *testing.T) {
	r := newRepository(t)
	var commits []string
	for n := range 6 {
		commits = append(commits, r.commit("f", fmt.Sprint(n), fmt.Sprint("main ", n)))
	}
	r.git("checkout", "--quiet", "-b", "topic", commits[2])
	topic := r.commit("g", "1", "the bad one\x1b[2J")
	last := r.commit("g", "2", "after it")
	r.git("checkout", "--quiet", "main")
	r.git("merge", "--quiet", "--no-edit", "topic")
	search := func(cannot ...string) []string {
		h, err := newHistory(t.Context(), &GitHistory{kernel: true}, r.dir, commits[0], "HEAD", t.TempDir())
		require.NoError(t, err)
		defer h.Close()
		suspects, _ := searchAll(t, h, func(c string) Outcome {
			for _, s := range cannot {
				if s == c {
					return Skip
				}
			}
			if _, err := git(t.Context(), r.dir, "merge-base", "--is-ancestor", topic, c); err == nil {
				return Bad
			}
			return Good
		})
		assert.NotContains(t, h.Describe(t.Context(), topic), "\x1b", "a commit's message must not reach a terminal as it is")
		return suspects
	}
	assert.Equal(t, []string{topic}, search())
	assert.Equal(t, []string{topic}, search(commits[1], commits[4]))
	assert.ElementsMatch(t, []string{topic, last}, search(topic), "it or its child: nobody can tell")
}

func TestHistoryRefusesWhatCannotBeSearched(t *testing.T) {
	r := newRepository(t)
	first := r.commit("f", "1", "first")
	r.commit("f", "2", "second")
	s := &scenarios.Scenario{Dir: r.dir}
	for _, tt := range []struct{ good, bad, want string }{
		{"nowhere", "HEAD", "nowhere: no such revision"},
		{"HEAD", first, "is no ancestor of"},
		{first, first, "is no ancestor of"},
	} {
		_, err := NewDriverHistory(t.Context(), s, tt.good, tt.bad, t.TempDir())
		assert.ErrorContains(t, err, tt.want)
		assert.ErrorAs(t, err, new(UsageError))
	}
	_, err := NewDriverHistory(t.Context(), &scenarios.Scenario{Dir: t.TempDir()}, "a", "b", t.TempDir())
	assert.ErrorContains(t, err, "in no git repository")
	_, err = NewKernelList(s, []string{"6.1", "6.12", "6.1"})
	assert.ErrorContains(t, err, "--kernel 6.1 is there twice")
}

func TestBisectJudgesByTheLeakOfTheBadEnd(t *testing.T) {
	leak := func(function, signature string, status reports.Status) reports.Run {
		return reports.Run{Verdict: reports.Leaks, Leaks: []reports.Leak{{Title: "memory leak in " + function, Signature: signature, Status: status}}}
	}
	oops := reports.Run{Verdict: reports.Leaks, Walk: &reports.WalkResult{Findings: []reports.Finding{
		{Kind: "oops", Stack: []reports.Frame{{Function: "probe"}}}}}}
	s := &search{wanted: map[string]bool{"memory leak in f": true, "0123": true}, known: map[string]bool{}}
	for name, tt := range map[string]struct {
		run  reports.Run
		want Outcome
	}{
		"the leak":                         {leak("f", "0123", reports.New), Bad},
		"the leak, with another caller":    {leak("f", "4567", reports.New), Bad},
		"the leak, in a renamed function":  {leak("g", "0123", reports.New), Bad},
		"another leak":                     {leak("g", "4567", reports.New), Skip},
		"a leak that the good end has":     {leak("f", "0123", reports.Known), Good},
		"clean":                            {reports.Run{Verdict: reports.Clean}, Good},
		"no verdict":                       {reports.Run{Verdict: reports.None, Reason: "panic"}, Skip},
		"skipped":                          {reports.Run{Verdict: reports.Skipped}, Skip},
		"an oops that the bad end has not": {oops, Skip},
	} {
		outcome, _ := s.judge(reports.Report{Runs: []reports.Run{tt.run}})
		assert.Equal(t, tt.want, outcome, name)
	}
	s.known["oops where an allocation fails in probe"] = true
	outcome, _ := s.judge(reports.Report{Runs: []reports.Run{oops}})
	assert.Equal(t, Good, outcome, "an oops that the good end has too")
}

// A leak that does not show in every run must be known of the good end, and found
// at the bad one, as often as a version in between is tested.
func TestBisectTestsTheEndsAsOftenAsTheRest(t *testing.T) {
	run := func(functions ...string) reports.Report {
		r := reports.Run{Verdict: reports.Clean}
		for _, f := range functions {
			r.Verdict = reports.Leaks
			r.Leaks = append(r.Leaks, reports.Leak{Title: "memory leak in " + f, Signature: f, Status: reports.New})
		}
		return reports.NewReport([]reports.Run{r})
	}
	none := reports.NewReport([]reports.Run{{Verdict: reports.None, Reason: "panic"}})
	for name, tt := range map[string]struct {
		times       int
		good, bad   []reports.Report // run after run; the last stands for all to come
		tested      []int            // of the good end, of the bad one
		wanted, err string
	}{
		"shows at once":            {0, []reports.Report{run()}, []reports.Report{run("f")}, []int{1, 1}, "f", ""},
		"shows in the third run":   {3, []reports.Report{run()}, []reports.Report{run(), run(), run("f")}, []int{3, 3}, "f", ""},
		"shows in the first":       {3, []reports.Report{run()}, []reports.Report{run("f"), none}, []int{3, 1}, "f", ""},
		"the good end's, at times": {3, []reports.Report{run(), run("g"), run()}, []reports.Report{run("g"), run("f")}, []int{3, 2}, "f", ""},
		"never":                    {3, []reports.Report{run()}, []reports.Report{run()}, []int{3, 3}, "", "b leaks nothing that a does not leak as well, tested 3 times"},
		"never, tested once":       {0, []reports.Report{run()}, []reports.Report{run(), run("f")}, []int{1, 1}, "", "tested once (--times tests it more often)"},
		"a good end that is lost":  {2, []reports.Report{run(), none}, nil, []int{2, 0}, "", "a, an end, gives no verdict: panic"},
		"a bad end that is lost":   {2, []reports.Report{run()}, []reports.Report{run(), none}, []int{2, 2}, "", "b, an end, gives no verdict: panic"},
	} {
		t.Run(name, func(t *testing.T) {
			list, err := NewKernelList(&scenarios.Scenario{}, []string{"a", "b"})
			require.NoError(t, err)
			s := &search{Bisect: &Bisect{Gate: &Gate{}, Versions: list, Times: tt.times}}
			tested := map[string]int{}
			s.run = func(_ context.Context, version string) (reports.Report, error) {
				said := map[string][]reports.Report{"a": tt.good, "b": tt.bad}[version]
				tested[version]++
				report := said[min(tested[version], len(said))-1]
				for i := range report.Runs {
					report.Runs[i].Leaks = slices.Clone(report.Runs[i].Leaks)
					for j, l := range report.Runs[i].Leaks { // what the gate does with its baseline
						if s.known[l.Title] {
							report.Runs[i].Leaks[j].Status = reports.Known
						}
					}
				}
				return report, nil
			}
			_, err = s.ends(t.Context())
			assert.Equal(t, tt.tested, []int{tested["a"], tested["b"]})
			if tt.err != "" {
				assert.ErrorContains(t, err, tt.err)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, map[string]bool{"memory leak in " + tt.wanted: true, tt.wanted: true}, s.wanted)
		})
	}
}

// bisected is the bisection's result, in which there is a first bad version.
func bisected(t *testing.T, b *Bisect, begin time.Time) *BisectResult {
	t.Helper()
	result, err := b.Run(t.Context())
	require.NoError(t, err)
	t.Logf("%d steps, %.1f s", len(result.Steps), time.Since(begin).Seconds())
	require.NotNil(t, result.First)
	return result
}
