package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"

	"github.com/kmemgate/kmemgate/reports"
)

const (
	ruleLeak = "memory-leak"
	ruleWalk = "error-path"
	homepage = "https://github.com/kmemgate/kmemgate"
	// GitHub takes 25,000 results of a run and shows 5,000 (docs.github.com,
	// "SARIF support for code scanning").
	sarifMost = 5000
)

// writeSARIF writes SARIF 2.1.0 for code scanning: a result a leak, its
// backtrace as a code flow, and what is known or suppressed as such.
func writeSARIF(buf *bytes.Buffer, v *view) error {
	run := sarif.NewRunWithInformationURI("kmemgate", homepage)
	run.Tool.Driver.Rules = sarifRules()
	cut := 0
	for _, g := range v.leaks {
		switch {
		case !leaked(g.Status):
		case len(run.Results) == sarifMost:
			cut++
		default:
			run.Results = append(run.Results, v.sarifLeak(g))
		}
	}
	for _, r := range v.report.Runs {
		for _, f := range troubles(r.Walk) {
			run.Results = append(run.Results, v.sarifFinding(r, f))
		}
	}
	run.Invocations = []*sarif.Invocation{v.sarifInvocation(cut)}
	report := sarif.NewReport()
	report.AddRun(run)
	text, err := json.MarshalIndent(report, "", " ")
	if err != nil {
		return err
	}
	buf.Write(escapeJSON(text))
	buf.WriteByte('\n')
	return nil
}

func sarifRules() []*sarif.ReportingDescriptor {
	rule := func(id, name, short, help string) *sarif.ReportingDescriptor {
		d := sarif.NewRule(id)
		d.Name = &name
		d.ShortDescription = sarif.NewMultiformatMessageString().WithText(short)
		d.Help = sarif.NewMultiformatMessageString().WithText(help)
		d.HelpURI = new("https://docs.kernel.org/dev-tools/kmemleak.html")
		d.DefaultConfiguration = sarif.NewReportingConfiguration().WithLevel("error")
		return d
	}
	return []*sarif.ReportingDescriptor{
		rule(ruleLeak, "KernelMemoryLeak", "Memory that a kernel module allocates and loses",
			"kmemleak found objects that nothing points to any more after the module was loaded, worked and unloaded. Free them on every way out, error paths too."),
		rule(ruleWalk, "KernelErrorPath", "An error path that crashes or hangs",
			"With one of its allocations failing, as any may, the module crashed the kernel, hung it or drew a warning."),
	}
}

func (v *view) sarifLeak(g group) *sarif.Result {
	r := sarif.NewRuleResult(ruleLeak).WithLevel("error").
		WithMessage(sarif.NewTextMessage(g.Title + ": " + join(", ", amount(g.Leak), g.scenario, "on "+g.where(4), walkNote(g.Walk))))
	r.RuleIndex = 0
	r.OccurrenceCount = new(max(g.Count, 1))
	// Code scanning tracks an alert by primaryLocationLineHash; the signature
	// outlives edits around the line, a hash of the line would not.
	r.PartialFingerprints = map[string]string{"kmemgateSignature/v1": g.Signature, "primaryLocationLineHash": g.Signature + ":1"}
	r.Locations = []*sarif.Location{v.sarifLocation(g.Leak)}
	if flow := v.sarifFlow(g.Frames); flow != nil {
		r.CodeFlows = []*sarif.CodeFlow{flow}
	}
	switch g.Status {
	case reports.New:
		r.BaselineState = new("new")
	case reports.Known:
		r.BaselineState = new("unchanged")
	}
	if where := notedIn[g.Status]; where != "" && !g.fails { // what fails must be seen
		r.Suppressions = []*sarif.Suppression{sarifSuppression(where, g.Note)}
	}
	return r
}

// notedIn is where it stands that a leak does not count.
var notedIn = map[reports.Status]string{reports.Known: "in the baseline", reports.Suppressed: "in kmemgate.yml"}

func sarifSuppression(where, note string) *sarif.Suppression {
	s := sarif.NewSuppression()
	s.Kind, s.Status, s.Justification = new("external"), new("accepted"), new(join(": ", where, note))
	return s
}

// sarifLocation: code scanning refuses a result without a file, so a leak
// that stands in none of the driver's points to the driver's kmemgate.yml.
func (v *view) sarifLocation(l reports.Leak) *sarif.Location {
	loc := sarif.NewLocation()
	loc.PhysicalLocation = v.sarifPlace(l.File, l.Module, l.Line)
	if loc.PhysicalLocation == nil {
		loc.PhysicalLocation = v.sarifPlace("kmemgate.yml", "driver", 1)
	}
	if excerpt := slices.IndexFunc(l.Source, func(s reports.SourceLine) bool { return s.Line == l.Line }); excerpt >= 0 && loc.PhysicalLocation.Region != nil {
		loc.PhysicalLocation.Region.Snippet = sarif.NewArtifactContent().WithText(l.Source[excerpt].Text)
	}
	logical := sarif.NewLogicalLocation()
	logical.Name, logical.Kind = new(l.Function), new("function")
	logical.FullyQualifiedName = new(join(":", l.Module, l.Function))
	loc.LogicalLocations = []*sarif.LogicalLocation{logical}
	return loc
}

func (v *view) sarifPlace(file, module string, line int) *sarif.PhysicalLocation {
	uri, relative := sarifURI(v.opt.sourcePath(file, module))
	if uri == "" {
		return nil
	}
	artifact := sarif.NewSimpleArtifactLocation(uri)
	if relative && !kernelHeader(file) { // which lies in no repository of the driver's
		artifact.URIBaseID = new("%SRCROOT%")
	}
	p := sarif.NewPhysicalLocation().WithArtifactLocation(artifact)
	if line > 0 {
		p.Region = sarif.NewSimpleRegion(line, line)
	}
	return p
}

// sarifURI makes a URI reference that stays below the repository: RFC 3986
// escapes what a path may not hold, and a leading "..", which would climb out
// of it, is cut off.
func sarifURI(file string) (uri string, relative bool) {
	if file == "" {
		return "", false
	}
	u := url.URL{Path: path.Clean(file)}
	if path.IsAbs(file) {
		u.Scheme = "file"
		return u.String(), false
	}
	for strings.HasPrefix(u.Path, "../") || u.Path == ".." {
		u.Path = strings.TrimPrefix(strings.TrimPrefix(u.Path, ".."), "/")
	}
	return u.String(), true
}

// sarifFlow is the backtrace in the order of calls, the outermost first.
func (v *view) sarifFlow(frames []reports.Frame) *sarif.CodeFlow {
	flow := sarif.NewThreadFlow()
	for _, f := range slices.Backward(frames) {
		place := v.sarifPlace(f.File, f.Module, f.Line)
		if place == nil {
			continue // a step that a reader cannot go to
		}
		loc := sarif.NewLocation().WithMessage(sarif.NewTextMessage(frameName(f)))
		loc.PhysicalLocation = place
		flow.Locations = append(flow.Locations, sarif.NewThreadFlowLocation().WithLocation(loc))
	}
	if len(flow.Locations) == 0 {
		return nil
	}
	return sarif.NewCodeFlow().WithThreadFlows([]*sarif.ThreadFlow{flow})
}

func (v *view) sarifFinding(run reports.Run, f reports.Finding) *sarif.Result {
	l := reports.Leak{}
	if s := splitStack(f.Stack); len(s.module) > 0 {
		at := s.module[0]
		l.File, l.Module, l.Line, l.Function = at.File, at.Module, at.Line, at.Function
	}
	r := sarif.NewRuleResult(ruleWalk).WithLevel("error").
		WithMessage(sarif.NewTextMessage(join(": ", f.Kind+" "+findingWords(f, v.opt), runName(run), firstLine(f.Text))))
	r.RuleIndex = 1
	r.Locations = []*sarif.Location{v.sarifLocation(l)}
	if flow := v.sarifFlow(f.Stack); flow != nil {
		r.CodeFlows = []*sarif.CodeFlow{flow}
	}
	r.PartialFingerprints = map[string]string{"kmemgateSignature/v1": join(":", f.Kind, l.Module, l.Function)}
	return r
}

// sarifInvocation says so where a run had no verdict: an empty list of results
// must not read as a clean bill.
func (v *view) sarifInvocation(cut int) *sarif.Invocation {
	inv := sarif.NewInvocation()
	inv.ExecutionSuccessful = new(v.tally.runs[reports.None] == 0)
	for _, run := range v.report.Runs {
		if run.Verdict == reports.None {
			n := sarif.NewNotification().WithLevel("error").WithMessage(sarif.NewTextMessage("no verdict: " + runName(run) + ": " + runSummary(run)))
			inv.ToolExecutionNotifications = append(inv.ToolExecutionNotifications, n)
		}
	}
	if cut > 0 {
		text := fmt.Sprintf("%s left out: code scanning shows %d; report.json has them all", plural(cut, "more leak"), sarifMost)
		inv.ToolExecutionNotifications = append(inv.ToolExecutionNotifications, sarif.NewNotification().WithLevel("warning").WithMessage(sarif.NewTextMessage(text)))
	}
	for _, w := range v.warnings() {
		n := sarif.NewNotification().WithLevel("warning").WithMessage(sarif.NewTextMessage(w))
		inv.ToolExecutionNotifications = append(inv.ToolExecutionNotifications, n)
	}
	return inv
}
