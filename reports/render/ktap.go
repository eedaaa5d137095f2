package render

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/kmemgate/kmemgate/reports"
)

// ktapTest is one line of KTAP with the tests below it:
// docs.kernel.org/dev-tools/ktap.html.
type ktapTest struct {
	ok        bool
	name      string
	directive string // "XFAIL in the baseline"; empty: none
	diag      []string
	sub       []ktapTest
}

// writeKTAP writes KTAP version 1: kernel/arch, below it the scenarios, below
// those the leaks. Known leaks are XFAIL where they do not fail; no verdict is an ERROR.
func writeKTAP(buf *bytes.Buffer, v *view) error {
	var kernels []ktapTest
	for _, run := range v.report.Runs {
		name := join("/", run.Kernel, run.Arch)
		at := slices.IndexFunc(kernels, func(k ktapTest) bool { return k.name == ktapName(name) })
		if at < 0 {
			at = len(kernels)
			kernels = append(kernels, ktapTest{ok: true, name: ktapName(name)})
		}
		k, test := &kernels[at], v.ktapRun(run)
		k.sub = append(k.sub, test)
		k.ok = k.ok && test.ok
	}
	ktapLevel(buf, "", "", kernels)
	return nil
}

func ktapLevel(buf *bytes.Buffer, indent, subtest string, tests []ktapTest) {
	fmt.Fprintf(buf, "%sKTAP version 1\n", indent)
	if subtest != "" {
		fmt.Fprintf(buf, "%s# Subtest: %s\n", indent, subtest)
	}
	fmt.Fprintf(buf, "%s1..%d\n", indent, len(tests))
	for i, t := range tests {
		if len(t.sub) > 0 {
			ktapLevel(buf, indent+"  ", t.name, t.sub)
		}
		for _, line := range t.diag {
			fmt.Fprintf(buf, "%s#   %s\n", indent, ktapInert.Replace(line))
		}
		result := "ok"
		if !t.ok {
			result = "not ok"
		}
		fmt.Fprintf(buf, "%s%s %d %s\n", indent, result, i+1, join(" # ", t.name, t.directive))
	}
}

func (v *view) ktapRun(run reports.Run) ktapTest {
	t := ktapTest{ok: run.Verdict == reports.Clean, name: ktapName(run.Scenario), diag: []string{work(run)}}
	for _, w := range run.Warnings {
		t.diag = append(t.diag, "warning: "+w)
	}
	switch run.Verdict {
	case reports.Clean, reports.Leaks:
	case reports.Skipped:
		t.ok, t.directive = true, ktapDirective("SKIP", runSummary(run))
	default:
		t.directive = ktapDirective("ERROR", runSummary(run))
	}
	for _, l := range run.Leaks {
		if sub, ok := v.ktapLeak(run, l); ok {
			t.sub = append(t.sub, sub)
		}
	}
	for _, f := range troubles(run.Walk) {
		t.sub = append(t.sub, ktapTest{name: ktapName(fmt.Sprintf("error path of allocation %d", f.N)),
			diag: []string{f.Kind + " " + findingWords(f, v.opt), firstLine(f.Text)}})
	}
	return t
}

func (v *view) ktapLeak(run reports.Run, l reports.Leak) (ktapTest, bool) {
	t := ktapTest{name: ktapName(l.Title), diag: append([]string{amount(l)}, strings.Split(v.plainLeak(l), "\n")...)}
	switch {
	case failing(&run, l):
		if l.Status != reports.New {
			t.diag = append([]string{standing(l)}, t.diag...)
		}
	case l.Status == reports.Known, l.Status == reports.Suppressed:
		// As ksft_test_result_xfail prints it (tools/testing/selftests/kselftest.h).
		t.ok, t.diag, t.directive = true, nil, ktapDirective("XFAIL", join(": ", string(l.Status), l.Note))
	default:
		return t, false
	}
	return t, true
}

// ktapName: a "#" begins a directive, and a name may not be empty.
func ktapName(s string) string {
	s = strings.TrimSpace(strings.ReplaceAll(s, "#", "_"))
	if s == "" {
		return "-"
	}
	return s
}

func ktapDirective(word, text string) string {
	return strings.TrimSpace(word + " " + strings.ReplaceAll(text, "#", "_"))
}

// ktapInert breaks the lines that end a log for kunit.py wherever they stand
// (KTAP_END in tools/testing/kunit/kunit_parser.py).
var ktapInert = strings.NewReplacer(
	"List of all partitions:", "List of all partitions :",
	"Kernel panic - not syncing: VFS:", "Kernel panic - not syncing: VFS :",
	"reboot: System halted", "reboot : System halted",
)
