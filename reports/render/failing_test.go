package render

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/joshdk/go-junit"
	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/reports"
)

// anyKnown is a report of --fail-on any: nothing is new, and what is known fails.
func anyKnown() reports.Report {
	run := leakyRun("6.12.117", "x86_64")
	run.Walk = nil
	run.Leaks = []reports.Leak{
		otherLeak(reports.Known, "memory leak in leaky_open", "in the baseline", 1, 96),
		otherLeak(reports.Suppressed, "memory leak in leaky_ioctl", "fixed in 6.14", 2, 512),
		otherLeak(reports.Transient, "memory leak in leaky_poll", "", 1, 4096),
	}
	return reports.NewReport([]reports.Run{run})
}

// A red run names what made it red, for every reader.
func TestKnownLeaksThatFailAreSeen(t *testing.T) {
	r := anyKnown()
	require.Equal(t, reports.Leaks, r.Verdict)
	v := newView(r, Options{})
	require.Equal(t, "1 known leak (1 object, 96 bytes), 1 suppressed leak (2 objects, 1.0 KiB)", v.headline())
	require.Equal(t, "1 transient", v.asides())

	text := write(t, r, Options{})
	require.Contains(t, text, "\nmemory leak in leaky_open  leaky.c:200\n")
	require.Contains(t, text, "\n  suppressed: fixed in 6.14\n")
	require.Contains(t, text, "1 known leak, 1 suppressed leak, 1 not counted")

	github := write(t, r, Options{Format: "github"})
	require.Equal(t, 2, strings.Count(github, "::error file=leaky.c,line=200,"))
	require.Contains(t, github, "leaky.c:200: error: memory leak in leaky_open [kmemgate]\n")

	markdown := write(t, r, Options{Format: "markdown"})
	require.Equal(t, 2, strings.Count(markdown, "<details><summary><b>memory leak in"))
	require.Contains(t, markdown, "Leaks that do not count: 1 transient")

	mail := write(t, r, Options{Format: "mail"})
	require.Contains(t, mail, "Subject: [BUG] leaky: memory leak in leaky_open and 1 more\n")
	require.NotContains(t, mail, "Nothing to report")

	suites, err := junit.Ingest([]byte(write(t, r, Options{Format: "junit"})))
	require.NoError(t, err)
	require.Equal(t, []int{2, 0}, []int{suites[0].Totals.Failed, suites[0].Totals.Skipped})

	ktap := write(t, r, Options{Format: "ktap"})
	require.Contains(t, ktap, "    not ok 1 memory leak in leaky_open\n")
	require.NotContains(t, ktap, "XFAIL")

	var doc sarifDoc
	require.NoError(t, json.Unmarshal([]byte(write(t, r, Options{Format: "sarif"})), &doc))
	require.Len(t, doc.Runs[0].Results, 2)
	for _, result := range doc.Runs[0].Results {
		require.Empty(t, result.Suppressions)
	}
}

// What does not fail is known still: beside a new leak, and in a clean run.
func TestKnownLeaksThatDoNotFailAreAsides(t *testing.T) {
	r := anyKnown()
	r.Runs[0].Verdict = reports.Clean
	r = reports.NewReport(r.Runs)
	require.Equal(t, "1 known, 1 suppressed, 1 transient", newView(r, Options{}).asides())
	require.Contains(t, write(t, r, Options{Format: "ktap"}), "XFAIL known: in the baseline")
	require.Equal(t, "1 known, 1 suppressed, 1 transient, 1 noise", newView(sample(), Options{}).asides())
}

// The page opens with what made the verdict, known or not.
func TestPageShowsKnownLeaksThatFail(t *testing.T) {
	b := open(t, anyKnown(), 1200, 900, sampleOptions)
	require.Equal(t, []string{"leaky_open", "leaky_ioctl"}, b.shown())
	b.fine()
}
