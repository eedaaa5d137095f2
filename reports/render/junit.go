package render

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strings"

	"github.com/kmemgate/kmemgate/reports"
)

// The elements are those that Jenkins, GitLab and GitHub's reporters read; file
// and line are GitLab's and pytest's.
type junitSuites struct {
	XMLName  xml.Name `xml:"testsuites"`
	Name     string   `xml:"name,attr"`
	Tests    int      `xml:"tests,attr"`
	Failures int      `xml:"failures,attr"`
	Errors   int      `xml:"errors,attr"`
	Skipped  int      `xml:"skipped,attr"`
	Suites   []junitSuite
}

type junitSuite struct {
	XMLName   xml.Name `xml:"testsuite"`
	Name      string   `xml:"name,attr"`
	Tests     int      `xml:"tests,attr"`
	Failures  int      `xml:"failures,attr"`
	Errors    int      `xml:"errors,attr"`
	Skipped   int      `xml:"skipped,attr"`
	Time      string   `xml:"time,attr"`
	Timestamp string   `xml:"timestamp,attr,omitempty"`
	Cases     []junitCase
	Output    junitOutput
}

type junitCase struct {
	XMLName xml.Name      `xml:"testcase"`
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	File    string        `xml:"file,attr,omitempty"`
	Line    int           `xml:"line,attr,omitempty"`
	Failure *junitOutcome `xml:"failure"`
	Error   *junitOutcome `xml:"error"`
	Skipped *junitOutcome `xml:"skipped"`
}

type junitOutcome struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
	Text    string `xml:",cdata"`
}

type junitOutput struct {
	XMLName xml.Name `xml:"system-out"`
	Text    string   `xml:",cdata"`
}

// writeJUnit writes a suite a run, and in it a case a leak: a new one fails, a
// known one is skipped where it does not. A run without a verdict is an error, never a pass.
func writeJUnit(buf *bytes.Buffer, v *view) error {
	all := junitSuites{Name: "kmemgate"}
	for _, run := range v.report.Runs {
		s := v.junitSuite(run)
		all.Tests += s.Tests
		all.Failures += s.Failures
		all.Errors += s.Errors
		all.Skipped += s.Skipped
		all.Suites = append(all.Suites, s)
	}
	text, err := xml.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	fmt.Fprintf(buf, "%s%s\n", xml.Header, text)
	return nil
}

func (v *view) junitSuite(run reports.Run) junitSuite {
	s := junitSuite{Name: runName(run), Time: seconds(run.Timings), Timestamp: run.Started}
	class := strings.ReplaceAll(join("/", run.Kernel, run.Arch, run.Scenario), ".", "_") // a dot is a package's
	for _, l := range run.Leaks {
		if c, ok := v.junitLeak(run, l); ok {
			s.Cases = append(s.Cases, c)
		}
	}
	for _, f := range troubles(run.Walk) {
		s.Cases = append(s.Cases, v.junitFinding(f))
	}
	s.Cases = append(s.Cases, junitVerdict(run, s.failures())...)
	for i := range s.Cases {
		s.Cases[i].Class = class
	}
	s.count()
	s.Output.Text = strings.Join(append([]string{work(run)}, run.Warnings...), "\n")
	return s
}

func (s junitSuite) failures() (n int) {
	for _, c := range s.Cases {
		if c.Failure != nil {
			n++
		}
	}
	return n
}

func (s *junitSuite) count() {
	s.Tests, s.Failures = len(s.Cases), s.failures()
	for _, c := range s.Cases {
		if c.Error != nil {
			s.Errors++
		}
		if c.Skipped != nil {
			s.Skipped++
		}
	}
}

// junitVerdict is the case of the run as a whole; where leaks fail there is
// none, so that a server counts failures as the report does.
func junitVerdict(run reports.Run, failures int) []junitCase {
	c := junitCase{Name: "no new leaks"}
	switch {
	case run.Verdict == reports.Clean:
	case run.Verdict == reports.Skipped:
		c.Skipped = &junitOutcome{Message: runSummary(run)}
	case run.Verdict == reports.Leaks && failures > 0:
		return nil
	case run.Verdict == reports.Leaks:
		c.Failure = &junitOutcome{Message: runSummary(run), Type: "leak"}
	default:
		c.Error = &junitOutcome{Message: runSummary(run), Type: run.Reason, Text: run.Detail}
	}
	return []junitCase{c}
}

func (v *view) junitLeak(run reports.Run, l reports.Leak) (junitCase, bool) {
	c := junitCase{Name: l.Title, File: v.opt.sourcePath(l.File, l.Module), Line: max(l.Line, 0)}
	switch {
	case failing(&run, l):
		c.Failure = &junitOutcome{Message: join(", ", amount(l), standing(l)), Type: "leak", Text: v.plainLeak(l)}
	case l.Status == reports.Known, l.Status == reports.Suppressed:
		c.Skipped = &junitOutcome{Message: join(": ", string(l.Status), l.Note)}
	default:
		return c, false
	}
	return c, true
}

func (v *view) junitFinding(f reports.Finding) junitCase {
	c := junitCase{Name: fmt.Sprintf("error path of allocation %d", f.N)}
	if f.File != "" {
		c.File, c.Line = v.opt.sourcePath(f.File, f.Module), max(f.Line, 0)
	}
	c.Failure = &junitOutcome{Message: f.Kind + " " + findingWords(f, v.opt), Type: f.Kind, Text: f.Text}
	return c
}

// plainLeak is place, backtrace and one raw record.
func (v *view) plainLeak(l reports.Leak) string {
	lines := []string{join(": ", place(v.opt.sourcePath(l.File, l.Module), l.Line), l.Title)}
	for _, f := range l.Frames {
		lines = append(lines, "  "+join("  ", frameName(f), place(v.opt.sourcePath(f.File, f.Module), f.Line)))
	}
	if len(l.Records) > 0 {
		lines = append(lines, strings.TrimRight(l.Records[0], "\n"), strings.TrimSpace(others(l)))
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}

// seconds sums up what the phases took.
func seconds(timings map[string]float64) string {
	var sum float64
	for _, s := range timings {
		sum += s
	}
	return fmt.Sprintf("%.3f", sum)
}
