package render

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/kmemgate/kmemgate/reports"
)

const (
	// GitHub shows ten annotations of a kind per step and drops the rest
	// without a word; the tenth is ours, to say how many there are.
	annotations = 9
	gccLines    = 500
)

// annotation is a workflow command: docs.github.com, "Workflow commands".
type annotation struct {
	level, file, title, message string
	line                        int
}

// writeGitHub writes workflow commands, then a gcc-like line a leak, which
// editors and problem matchers know, then the verdict.
func writeGitHub(buf *bytes.Buffer, v *view) error {
	list := v.annotations()
	for i, a := range list {
		if i == annotations {
			a = annotation{level: a.level, title: "kmemgate", message: fmt.Sprintf("and %s; the log and report.json have them all", plural(len(list)-i, "more finding"))}
		}
		fmt.Fprintln(buf, a)
		if i == annotations {
			break
		}
	}
	v.gccLines(buf)
	fmt.Fprintln(buf, "kmemgate: "+join(": ", verdictWord(v.report.Verdict), v.headline()))
	return nil
}

// String is "::error file=leaky.c,line=42,title=memory leak in f::3 objects…".
func (a annotation) String() string {
	var props []string
	if a.file != "" {
		props = append(props, "file="+escapeProperty(a.file))
		if a.line > 0 {
			props = append(props, fmt.Sprintf("line=%d", a.line))
		}
	}
	props = append(props, "title="+escapeProperty(a.title))
	return fmt.Sprintf("::%s %s::%s", a.level, strings.Join(props, ","), escapeData(a.message))
}

// The escapes are the toolkit's: actions/toolkit, packages/core/src/command.ts.
var (
	dataEscapes     = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	propertyEscapes = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)

func escapeData(s string) string     { return dataEscapes.Replace(s) }
func escapeProperty(s string) string { return propertyEscapes.Replace(s) }

// annotations of a report, errors first: leaks that fail, findings of walks, runs
// without a verdict, then warnings.
func (v *view) annotations() []annotation {
	var list []annotation
	for _, g := range v.failing() {
		list = append(list, v.leakAnnotation(g))
	}
	for _, run := range v.report.Runs {
		for _, f := range troubles(run.Walk) {
			list = append(list, v.findingAnnotation(run, f))
		}
		if run.Verdict == reports.None {
			list = append(list, annotation{level: "error", title: "no verdict: " + runName(run), message: runSummary(run)})
		}
	}
	for _, w := range v.warnings() {
		list = append(list, annotation{level: "warning", title: "kmemgate", message: w})
	}
	return list
}

func (v *view) leakAnnotation(g group) annotation {
	message := []string{amount(g.Leak), join(" ", g.scenario, "on "+g.where(4))}
	if note := standing(g.Leak); note != "" {
		message = append(message, note)
	}
	message = append(message, g.walkNotes(v.opt)...)
	for i, f := range g.Frames {
		if i == 8 {
			message = append(message, "  …")
			break
		}
		message = append(message, "  "+frameName(f))
	}
	return annotation{"error", v.opt.sourcePath(g.File, g.Module), g.Title, strings.Join(message, "\n"), g.Line}
}

func (v *view) findingAnnotation(run reports.Run, f reports.Finding) annotation {
	a := annotation{level: "error", title: f.Kind + " on an error path",
		message: join("\n", findingWords(f, v.opt), runName(run), firstLine(f.Text))}
	if f.File != "" {
		a.file, a.line = v.opt.sourcePath(f.File, f.Module), f.Line
	}
	return a
}

// gccLines are "leaky.c:42: error: memory leak in leak_in_probe [kmemgate]".
func (v *view) gccLines(buf *bytes.Buffer) {
	for i, g := range v.failing() {
		if i == gccLines {
			fmt.Fprintf(buf, "… and %s\n", plural(len(v.failing())-i, "more leak"))
			return
		}
		at := place(v.opt.sourcePath(g.File, g.Module), g.Line)
		if at == "" {
			at = "kmemgate"
		}
		fmt.Fprintf(buf, "%s: error: %s [kmemgate]\n", at, g.Title)
	}
}
