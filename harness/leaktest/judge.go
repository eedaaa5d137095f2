package leaktest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/kmemgate/kmemgate/harness"
	"github.com/kmemgate/kmemgate/kernels"
	"github.com/kmemgate/kmemgate/reports"
	"github.com/kmemgate/kmemgate/scenarios"
)

// judge runs the scenario and compares. However it fails, the command that
// repeats just this one is the last line.
func (opt Options) judge(t *testing.T, gate *harness.Gate, s *scenarios.Scenario, p pair) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("run just this one:\n\t%s", repeatCommand(opt.Env, t.Name()))
		}
	}()
	want, expected := expectation(t, gate, s, p)
	run, err := gate.One(t.Context(), s, p.kernel, p.arch)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("outcome: %s", outcome(run))
	dir := filepath.Join(gate.Out, run.Dir)
	var diff []string
	if expected {
		diff = want.Check(observed(run, dir))
	} else if run.Verdict == reports.Skipped {
		missing(t, "skipped: %s", run.Detail)
	} else {
		diff = unexpected(run, s.FailOn)
	}
	for _, d := range diff {
		t.Errorf("%s", d)
	}
	if t.Failed() {
		t.Logf("evidence: %s (kept with go test -artifacts)\n%s", dir, records(run))
	}
}

// expectation is what kmemgate.yml says of the kernel; false where it expects
// nothing of any. A file that speaks of other kernels only ends the test before
// anything runs, for there would be nothing to judge by.
func expectation(t *testing.T, gate *harness.Gate, s *scenarios.Scenario, p pair) (scenarios.Expectation, bool) {
	t.Helper()
	if len(s.Expect) == 0 {
		return scenarios.Expectation{}, false
	}
	release := p.kernel
	if k, err := gate.Kernel(t.Context(), s, p.kernel, p.arch); err == nil {
		release = k.Release // else the run will tell what is wrong with the kernel
	}
	want, ok := s.ExpectFor(release, p.arch)
	if !ok {
		missing(t, "%s: expect says nothing of kernel %s on %s: add an entry without kernels: and arches:", filepath.Join(s.Dir, scenarios.FileName), release, p.arch)
	}
	return want, true
}

// unexpected says why the run fails where kmemgate.yml expects nothing: as the
// exit status of `kmemgate run` would.
func unexpected(run reports.Run, failOn string) []string {
	if run.Verdict == reports.Clean || run.Verdict == reports.Leaks && failOn == "never" {
		return nil
	}
	text := fmt.Sprintf("verdict: want clean, got %s", run.Verdict)
	if run.Reason != "" {
		text += " (" + run.Reason + ")"
	}
	if run.Detail != "" {
		text += ": " + run.Detail
	}
	return []string{text}
}

// repeatCommand runs the one subtest again from anywhere: go test runs a test in
// its package's folder, and -run takes an expression for each part of the name.
func repeatCommand(env []string, name string) string {
	dir, err := os.Getwd()
	if err != nil {
		dir = "."
	}
	parts := strings.Split(name, "/")
	for i, p := range parts {
		parts[i] = "^" + regexp.QuoteMeta(p) + "$"
	}
	args := append([]string{}, env...)
	args = append(args, "go", "test", "-count=1", "-v", "-artifacts", "-run", strings.Join(parts, "/"))
	return "cd " + kernels.Quote([]string{dir}) + " && " + quoteAll(args)
}

// quoteAll quotes words for a shell; what stands before the equals sign of a
// variable must not be quoted, or the shell takes it for a command.
func quoteAll(words []string) string {
	out := make([]string, len(words))
	for i, w := range words {
		if name, value, ok := strings.Cut(w, "="); ok && !strings.HasPrefix(w, "-") {
			out[i] = name + "=" + kernels.Quote([]string{value})
		} else {
			out[i] = kernels.Quote([]string{w})
		}
	}
	return strings.Join(out, " ")
}

// outcome is one line that two runs alike have in common.
func outcome(run reports.Run) string {
	words := []string{string(run.Verdict)}
	if run.Reason != "" {
		words = append(words, run.Reason)
	}
	for _, l := range run.Leaks {
		words = append(words, fmt.Sprintf("%s %s %s %d×%d", l.Status, l.Kind, l.Function, l.Count, l.Size))
	}
	return strings.Join(words, ", ")
}

// observed is the run in the words of an expectation.
func observed(run reports.Run, dir string) scenarios.Observed {
	o := scenarios.Observed{
		Verdict: string(run.Verdict),
		Reason:  run.Reason,
		Detail:  run.Detail,
		Dmesg:   readFile(filepath.Join(dir, "dmesg.txt")),
		Output:  readFile(filepath.Join(dir, "exercise.log")),
	}
	for _, l := range run.Leaks {
		o.Leaks = append(o.Leaks, scenarios.ObservedLeak{
			Function: l.Function, Kind: l.Kind, Status: string(l.Status), Count: l.Count,
			Size: l.Size, PerCycle: l.PerCycle, File: l.File, Line: l.Line, Children: l.Children,
		})
	}
	return o
}

// readFile gives "" for a file that is not there: a run that ended early.
func readFile(path string) string {
	text, _ := os.ReadFile(path)
	return string(text)
}

func records(run reports.Run) string {
	var b strings.Builder
	for _, l := range run.Leaks {
		fmt.Fprintf(&b, "%s: %s, %d objects, %d bytes\n", l.Status, l.Title, l.Count, l.Bytes)
		if len(l.Records) > 0 {
			b.WriteString(l.Records[0] + "\n")
		}
	}
	return b.String()
}
