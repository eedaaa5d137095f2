package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/harness"
	"github.com/kmemgate/kmemgate/reports"
)

// exitText is a failed command's exit status, or what else became of it.
func exitText(err error) string {
	var status *exec.ExitError
	if errors.As(err, &status) {
		return strconv.Itoa(status.ExitCode())
	}
	return err.Error()
}

func TestExitStatus(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		want int
		said string
	}{
		{"nothing new", nil, 0, ""},
		{"leaks", asVerdict(reports.Leaks), 1, ""},
		{"no verdict is never a pass", asVerdict(reports.None), 3, ""},
		{"skipped is never a pass", asVerdict(reports.Skipped), 3, ""},
		{"a verdict nobody knows is never a pass", asVerdict("green"), 3, ""},
		{"usage", fmt.Errorf("run: %w", harness.Usagef("no such kernel")), 2, "kmemgate: run: no such kernel\n"},
		{"interrupted", fmt.Errorf("run: %w", context.Canceled), 3, "kmemgate: interrupted: no verdict\n"},
		{"anything else", errors.New("disk full"), 3, "kmemgate: disk full\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var stderr bytes.Buffer
			assert.Equal(t, tt.want, exitStatus(tt.err, &stderr))
			assert.Equal(t, tt.said, stderr.String())
		})
	}
}

// reportOf has a run of each verdict, and a leak in those that leak.
func reportOf(verdicts ...reports.Verdict) reports.Report {
	var runs []reports.Run
	for _, v := range verdicts {
		run := reports.Run{Kernel: "6.12", Arch: "x86_64", Verdict: v}
		if v == reports.Leaks {
			run.Leaks = []reports.Leak{{Signature: "s", Status: reports.New, Count: 1, Sites: []reports.Site{{Function: "f", Count: 1}}}}
		}
		runs = append(runs, run)
	}
	return reports.NewReport(runs)
}

// Whoever says that a leak does not matter has not said so of a run that nobody
// could judge.
func TestExcusedLeaksHideNoRunWithoutVerdict(t *testing.T) {
	const clean, leaks, none, skipped = reports.Clean, reports.Leaks, reports.None, reports.Skipped
	for _, tt := range []struct {
		runs                   []reports.Verdict
		failing, never, update int // exit status with --fail-on new, never, and with --update-baseline
	}{
		{[]reports.Verdict{clean}, 0, 0, 0},
		{[]reports.Verdict{leaks}, 1, 0, 0},
		{[]reports.Verdict{leaks, clean}, 1, 0, 0},
		{[]reports.Verdict{leaks, skipped}, 1, 0, 0},
		{[]reports.Verdict{leaks, none}, 1, 3, 3},
		{[]reports.Verdict{none, leaks, clean}, 1, 3, 3},
		{[]reports.Verdict{leaks, "green"}, 1, 3, 3},
		{[]reports.Verdict{clean, none}, 3, 3, 3},
		{[]reports.Verdict{skipped}, 3, 3, 3},
		{nil, 3, 3, 3},
	} {
		t.Run(fmt.Sprint(tt.runs), func(t *testing.T) {
			report := reportOf(tt.runs...)
			assert.Equal(t, tt.failing, exitStatus(outcome(report, report.Fails("new")), t.Output()), "--fail-on new")
			assert.Equal(t, tt.never, exitStatus(outcome(report, report.Fails("never")), t.Output()), "--fail-on never")
			path := filepath.Join(t.TempDir(), "baseline.json")
			assert.Equal(t, tt.update, exitStatus(updateBaseline(t.Output(), path, report), t.Output()), "--update-baseline")
			if tt.update == exitClean {
				assert.FileExists(t, path)
			} else {
				assert.NoFileExists(t, path)
			}
		})
	}
}

// A baseline stores leaks by their allocating lines; what else a walk brings
// about has none, and would be gone from sight with exit status 0.
func TestUpdateBaselineRefusesWhatItCannotHold(t *testing.T) {
	for kind, want := range map[string]int{"leak": exitClean, "oops": exitLeaks, "panic": exitLeaks, "hang": exitLeaks, "warn": exitLeaks} {
		t.Run(kind, func(t *testing.T) {
			report := reportOf(reports.Clean, reports.Leaks)
			report.Runs[1].Walk = &reports.WalkResult{Findings: []reports.Finding{{N: 1, Kind: "leak", Signature: "s"}, {N: 3, Kind: kind}}}
			path := filepath.Join(t.TempDir(), "baseline.json")
			var stderr bytes.Buffer
			assert.Equal(t, want, exitStatus(updateBaseline(&stderr, path, report), &stderr))
			if want == exitClean {
				assert.FileExists(t, path)
				return
			}
			assert.NoFileExists(t, path)
			assert.Equal(t, "kmemgate: --update-baseline: 6.12 x86_64: "+kind+" when allocation 3 of the load fails, and that is no leak: the baseline stays as it was\n", stderr.String())
		})
	}
}

func TestRepeatedFlagsAreThoseThatChangeWhatIsFound(t *testing.T) {
	c := newRun()
	require.NoError(t, c.ParseFlags([]string{"--error-paths", "--out=x", "--format=json", "--kernel=6.1", "--cycles=3", "--allow-warn"}))
	assert.Equal(t, []string{"--allow-warn=true", "--cycles=3", "--error-paths=true"}, repeated(c))
}
