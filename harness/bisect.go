package harness

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kmemgate/kmemgate/reports"
	"github.com/kmemgate/kmemgate/scenarios"
)

// Bisect finds the version that brought a leak in. It tests both ends first:
// between two that do not differ, a search would name an innocent one.
type Bisect struct {
	Gate     *Gate
	Versions Versions
	// Times is how often a version is tested before it counts as good, for
	// leaks that do not show in every run; 0 means once. The good end is tested
	// that often in any case, the bad one until it shows the leak.
	Times int
	// Leak is a title or a signature: only this leak is looked for. Empty: all
	// that the bad end has and the good one has not.
	Leak string
}

// Versions is what a bisection searches: the history of a git tree (NewGitHistory)
// or a list of kernels (NewKernelList).
type Versions interface {
	// Ends are the version without the leak and one with it.
	Ends() (good, bad string)
	// At makes a version ready and returns the scenario that tests it.
	At(ctx context.Context, version string) (*scenarios.Scenario, error)
	// Mark takes a version's outcome and returns the one to test next; none
	// before both ends are marked, and none when the search is over.
	Mark(ctx context.Context, version string, o Outcome) (next string, err error)
	// Suspects are the versions of which one is the first bad one: one alone,
	// unless versions that could not be tested lie around it.
	Suspects(ctx context.Context) ([]string, error)
	// Describe tells a person of a version; the first line is its title.
	Describe(ctx context.Context, version string) string
	// Reproduce makes of a run's command one that works when all is over.
	Reproduce(version, command string) string
}

// Outcome is what a test of one version came to.
type Outcome string

// The outcomes, in the words of git bisect.
const (
	Good Outcome = "good"
	Bad  Outcome = "bad"
	Skip Outcome = "skip" // no verdict: what exit status 125 is for git bisect run
)

// BisectStep is one version that was tested.
type BisectStep struct {
	Version string
	Title   string
	Outcome Outcome
	Why     string // in a line: the leak, or why there is no verdict
	// Report is of the run that decided; its runs' folders are relative to Out.
	Report reports.Report
}

// BisectResult is what a bisection came to.
type BisectResult struct {
	Steps []BisectStep // the two ends first
	// First is the first bad version; nil where untestable ones leave it open.
	First *BisectStep
	// Suspects are the versions of which one is the first bad one.
	Suspects []string
	// About tells of First: a commit's author, date and message.
	About string
}

// Run searches. That the ends cannot be told apart is an error, and so is one
// of them that gives no verdict.
func (b *Bisect) Run(ctx context.Context) (*BisectResult, error) {
	s := &search{Bisect: b, out: b.Gate.Out, baseline: b.Gate.Baseline}
	s.run = s.test
	defer func() { b.Gate.Out, b.Gate.Baseline = s.out, s.baseline }()
	next, err := s.ends(ctx)
	for err == nil && next != "" {
		next, err = s.step(ctx, next)
	}
	if err != nil {
		return nil, err
	}
	return s.conclude(ctx)
}

// search is a bisection on its way.
type search struct {
	*Bisect
	run      func(ctx context.Context, version string) (reports.Report, error) // test
	out      string                                                            // the gate's own, while it writes to a step's folder
	baseline *reports.Baseline                                                 // the gate's own
	known    map[string]bool                                                   // what the good end shows, by key
	wanted   map[string]bool                                                   // what the bad end shows besides, by key
	tests    int                                                               // so far: names of folders
	steps    []BisectStep                                                      // so far
}

// ends tests both ends and learns from them what the leak is.
func (s *search) ends(ctx context.Context) (next string, err error) {
	good, bad := s.Versions.Ends()
	report, err := s.goodEnd(ctx, good)
	if err != nil {
		return "", err
	}
	baseline := reports.NewBaseline(report)
	s.Gate.Baseline, s.known = &baseline, keys(sightings(report))
	if _, err := s.mark(ctx, good, Good, "", report); err != nil {
		return "", err
	}
	report, found, err := s.badEnd(ctx, good, bad)
	if err != nil {
		return "", err
	}
	s.wanted = keys(found)
	return s.mark(ctx, bad, Bad, found[0].text, report)
}

// goodEnd is all that the good end shows in all its runs: what it leaks now and
// then must not be searched for.
func (s *search) goodEnd(ctx context.Context, version string) (reports.Report, error) {
	var runs []reports.Run
	for range max(s.Times, 1) {
		report, err := s.end(ctx, version)
		if err != nil {
			return report, err
		}
		runs = append(runs, report.Runs...)
	}
	return reports.NewReport(runs), nil
}

// badEnd tests the bad end until it shows what is to be searched for.
func (s *search) badEnd(ctx context.Context, good, bad string) (reports.Report, []sighting, error) {
	for range max(s.Times, 1) {
		report, err := s.end(ctx, bad)
		if err != nil {
			return report, nil, err
		}
		found := s.fresh(report)
		if s.Leak != "" {
			found = slices.DeleteFunc(found, func(l sighting) bool { return l.title != s.Leak && l.signature != s.Leak })
		}
		if len(found) > 0 {
			return report, found, nil
		}
	}
	return reports.Report{}, nil, fmt.Errorf("bisect: %s leaks nothing that %s does not leak as well%s, tested %s: there is no first bad version between them (evidence: %s)",
		bad, good, wantedText(s.Leak), timesWord(max(s.Times, 1)), s.Gate.Out)
}

func timesWord(n int) string {
	if n == 1 {
		return "once (--times tests it more often)"
	}
	return fmt.Sprintf("%d times", n)
}

func wantedText(leak string) string {
	if leak == "" {
		return ""
	}
	return " under the name " + leak
}

// end tests one end, which must give a verdict.
func (s *search) end(ctx context.Context, version string) (reports.Report, error) {
	report, err := s.run(ctx, version)
	if err != nil {
		return report, fmt.Errorf("bisect: %s: %w", version, err)
	}
	if why := verdictless(report); why != "" {
		return report, fmt.Errorf("bisect: %s, an end, gives no verdict: %s: name another one (evidence: %s)", version, why, s.Gate.Out)
	}
	return report, nil
}

// step tests a version as often as need be and returns the next one.
func (s *search) step(ctx context.Context, version string) (next string, err error) {
	var report reports.Report
	outcome, why := Good, ""
	for range max(s.Times, 1) {
		report, err = s.run(ctx, version)
		switch usage := (UsageError{}); {
		case errors.As(err, &usage): // a version that has no such driver yet
			outcome, why = Skip, usage.Error()
		case err != nil:
			return "", fmt.Errorf("bisect: %s: %w", version, err)
		default:
			outcome, why = s.judge(report)
		}
		if outcome != Good {
			break
		}
	}
	return s.mark(ctx, version, outcome, why, report)
}

// judge compares a run with the ends.
func (s *search) judge(report reports.Report) (Outcome, string) {
	found := s.fresh(report)
	for _, l := range found {
		if s.wanted[l.title] || s.wanted[l.signature] {
			return Bad, l.text
		}
	}
	if why := verdictless(report); why != "" {
		return Skip, why
	}
	if len(found) > 0 {
		// Under another name it may be the leak or another one. Good or bad would be
		// a guess, and a wrong guess names an innocent version.
		return Skip, "it leaks, but not what the bad end leaks: " + found[0].text
	}
	return Good, ""
}

// test gates one version.
func (s *search) test(ctx context.Context, version string) (reports.Report, error) {
	scenario, err := s.Versions.At(ctx, version)
	if err != nil {
		return reports.Report{}, err
	}
	s.tests++
	folder := filepath.Join("steps", fmt.Sprintf("%02d-%s", s.tests, shortName(version)))
	s.Gate.Out = filepath.Join(s.out, folder)
	report, err := s.Gate.Run(ctx, scenario)
	if err != nil {
		return reports.Report{}, err
	}
	for i := range report.Runs {
		r := &report.Runs[i]
		r.Dir, r.Reproduce = filepath.Join(folder, r.Dir), s.Versions.Reproduce(version, r.Reproduce)
		if r.Verdict == reports.None && strings.HasPrefix(r.Detail, "host: ") {
			return reports.Report{}, errors.New(r.Detail) // no property of the version's
		}
	}
	return *report, nil
}

// shortName is a version as a folder's name.
func shortName(version string) string {
	name := safeName(filepath.Base(version))
	return name[:min(len(name), 16)]
}

// mark tells the outcome to the user and to the history.
func (s *search) mark(ctx context.Context, version string, o Outcome, why string, report reports.Report) (string, error) {
	title, _, _ := strings.Cut(s.Versions.Describe(ctx, version), "\n")
	s.steps = append(s.steps, BisectStep{version, title, o, why, report})
	s.Gate.status("%s", strings.TrimSuffix(fmt.Sprintf("bisect: %-4s  %s  %s", o, title, why), "  "))
	return s.Versions.Mark(ctx, version, o)
}

// conclude names the first bad version and leaves its report in the folder.
func (s *search) conclude(ctx context.Context) (*BisectResult, error) {
	suspects, err := s.Versions.Suspects(ctx)
	if err != nil {
		return nil, err
	}
	r := &BisectResult{Steps: s.steps, Suspects: suspects}
	if len(suspects) != 1 {
		return r, nil
	}
	i := slices.IndexFunc(s.steps, func(step BisectStep) bool { return step.Version == suspects[0] })
	if i < 0 {
		return nil, fmt.Errorf("bisect: %s is named and was never tested", suspects[0])
	}
	r.First, r.About = &s.steps[i], s.Versions.Describe(ctx, suspects[0])
	s.Gate.Out = s.out
	return r, s.Gate.writeReport(r.First.Report)
}

// sighting is one thing that a run shows: a leak, or what a walk of error paths
// met besides.
type sighting struct{ title, signature, text string }

// sightings are the new leaks and the findings of a report.
func sightings(r reports.Report) []sighting {
	var all []sighting
	for _, run := range r.Runs {
		for _, l := range run.Leaks {
			if l.Status == reports.New {
				all = append(all, sighting{l.Title, l.Signature, strings.TrimSpace(l.Title + "  " + place(l))})
			}
		}
		if run.Walk == nil {
			continue
		}
		for _, f := range run.Walk.Findings {
			if f.Kind == "leak" || len(f.Stack) == 0 {
				continue // leaks are among the leaks
			}
			title := f.Kind + " where an allocation fails in " + f.Stack[0].Function
			all = append(all, sighting{title: title, text: title})
		}
	}
	return all
}

func place(l reports.Leak) string {
	if l.File == "" {
		return ""
	}
	return fmt.Sprintf("%s:%d", l.File, l.Line)
}

// fresh are the sightings that the good end has not. A leak that the good end
// has is known to the baseline, by its sites and their counts.
func (s *search) fresh(r reports.Report) []sighting {
	return slices.DeleteFunc(sightings(r), func(l sighting) bool { return l.signature == "" && s.known[l.title] })
}

// keys are the names a sighting is known again by: its title outlives a change
// among its callers, its signature a change of the compiler's mind.
func keys(list []sighting) map[string]bool {
	out := map[string]bool{}
	for _, l := range list {
		out[l.title] = true
		if l.signature != "" {
			out[l.signature] = true
		}
	}
	return out
}

// verdictless tells why a report has no verdict; empty where it has one.
func verdictless(r reports.Report) string {
	for _, run := range r.Runs {
		if run.Verdict == reports.None || run.Verdict == reports.Skipped {
			detail, _, _ := strings.Cut(run.Detail, "\n")
			return strings.TrimSuffix(cmp.Or(run.Reason, string(run.Verdict))+": "+detail, ": ")
		}
	}
	if len(r.Runs) == 0 {
		return "nothing ran"
	}
	return ""
}

// overlay lays the files that the scenario's test needs over a tree of another
// time: what is bisected is the driver, not its test.
func overlay(s *scenarios.Scenario, dir string) error {
	for _, name := range s.Files {
		content, err := os.ReadFile(filepath.Join(s.Dir, name))
		if err != nil {
			return Usagef("files: %w", err)
		}
		info, err := os.Stat(filepath.Join(s.Dir, name))
		if err != nil {
			return Usagef("files: %w", err)
		}
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return hostError("", "bisect: %w", err)
		}
		if err := os.WriteFile(to, content, info.Mode().Perm()); err != nil {
			return hostError("", "bisect: %w", err)
		}
	}
	return nil
}
