package render

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/muesli/reflow/wordwrap"

	"github.com/kmemgate/kmemgate/reports"
)

const (
	mailWidth = 72
	mailLeaks = 10 // told in full; a list does not want more
)

// writeMail writes a text for a kernel list, in the order that reports there
// have (Documentation/admin-guide/reporting-issues.rst, and syzbot's mails):
// subject, what was found, kernel, decoded stack, raw record, how to
// reproduce. Nothing is ever sent; it is for a person to read and complete.
func writeMail(buf *bytes.Buffer, v *view) error {
	fresh := v.failing()
	var found []trouble
	for i := range v.report.Runs {
		for _, f := range troubles(v.report.Runs[i].Walk) {
			found = append(found, trouble{&v.report.Runs[i], f})
		}
	}
	m := &mail{view: v, buf: buf}
	if len(fresh)+len(found) == 0 {
		m.prose("Nothing to report: " + join(": ", verdictWord(v.report.Verdict), v.headline()) + ".")
		return nil
	}
	m.opening(fresh, found)
	for i, g := range fresh {
		if i == mailLeaks {
			m.prose(fmt.Sprintf("and %s, not shown here.", plural(len(fresh)-i, "more leak")))
			m.linef("")
			break
		}
		m.leak(g)
	}
	for i, t := range found {
		if i == mailLeaks {
			m.prose(fmt.Sprintf("and %s, not shown here.", plural(len(found)-i, "more failing error path")))
			m.linef("")
			break
		}
		m.finding(t)
	}
	if v.opt.Introduced != "" {
		m.prose("Bisection names this as the first bad version:")
		m.linef("")
		m.quote(cleanBlock(v.opt.Introduced))
		m.linef("")
	}
	m.linef("--")
	m.prose("Found with kmemgate, " + homepage)
	return nil
}

type trouble struct {
	run *reports.Run
	reports.Finding
}

type mail struct {
	*view
	buf *bytes.Buffer
}

func (m *mail) linef(format string, args ...any) { fmt.Fprintf(m.buf, format+"\n", args...) }

// prose is folded as lists want it; quoted text never is.
func (m *mail) prose(text string) {
	for line := range strings.SplitSeq(wordwrap.String(text, mailWidth), "\n") {
		if strings.HasPrefix(line, "From ") { // a mailbox's separator
			line = ">" + line
		}
		m.linef("%s", disarm(line))
	}
}

func (m *mail) quote(text string) {
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		m.linef("%s", strings.TrimRight("  "+line, " \t"))
	}
}

func (m *mail) opening(fresh []group, found []trouble) {
	var subject, module string
	if len(fresh) > 0 {
		subject, module = fresh[0].Title, fresh[0].Module
	} else {
		subject = found[0].Kind + " " + findingWords(found[0].Finding, Options{})
	}
	more := ""
	if n := len(fresh) + len(found) - 1; n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	m.linef("Subject: [BUG] %s%s", join(": ", module, subject), more)
	m.linef("")
	m.prose("Hi,")
	m.linef("")
	m.prose("kmemleak reports memory that nothing points to any more after the module below was loaded, worked and unloaded" +
		" in a virtual machine.")
	m.linef("")
}

func (m *mail) leak(g group) {
	m.linef("%s", g.Title)
	m.linef("%s", strings.Repeat("=", min(len(g.Title), mailWidth)))
	m.linef("")
	m.field("Leaked", amount(g.Leak))
	if g.Status != reports.New {
		m.field("Status", standing(g.Leak))
	}
	m.field("Where", place(g.File, g.Line))
	for _, note := range g.walkNotes(Options{}) {
		m.field("When", strings.TrimPrefix(note, "when "))
	}
	m.kernel(g.runs)
	if len(g.Source) > 0 {
		m.linef("\nSource:\n")
		m.quote(excerpt(g.Leak))
	}
	m.linef("\nDecoded stack:\n")
	for _, f := range g.Frames {
		m.quote(join("  ", frameName(f), place(f.File, f.Line)))
	}
	if len(g.Records) > 0 {
		m.linef("\nkmemleak%s:\n", others(g.Leak))
		m.quote(g.Records[0])
	}
	m.reproduce(g.runs[0])
}

func (m *mail) finding(t trouble) {
	title := t.Kind + " " + findingWords(t.Finding, Options{})
	m.linef("%s", title)
	m.linef("%s", strings.Repeat("=", min(len(title), mailWidth)))
	m.linef("")
	m.kernel([]*reports.Run{t.run})
	if len(t.Stack) > 0 {
		m.linef("\nThe allocation that was made to fail:\n")
		for _, f := range t.Stack {
			m.quote(join("  ", frameName(f), place(f.File, f.Line)))
		}
	}
	if path := pathText(t.Finding); path != "" {
		m.linef("\nThe error path:\n")
		m.quote(path)
	}
	if t.Text != "" {
		m.linef("\nThe kernel says:\n")
		m.quote(t.Text)
	}
	m.reproduce(t.run)
}

func (m *mail) field(name, value string) {
	if value != "" {
		m.linef("%-10s%s", name+":", value)
	}
}

// kernel tells what was running. The .config is a file in the evidence: lists
// want it named, and attached by the sender.
func (m *mail) kernel(runs []*reports.Run) {
	var where []string
	for _, run := range runs {
		where = append(where, join(" ", run.Kernel, run.Arch))
	}
	slices.Sort(where)
	m.field("Kernel", strings.Join(slices.Compact(where), ", "))
	if b := runs[0].Built; b != nil {
		m.field("Commit", b.Commit)
		m.field("Compiler", b.Toolchain)
	}
	if dir := m.opt.evidence(*runs[0]); dir != "" {
		m.field("Config", strings.TrimSuffix(dir, "/")+"/kernel.config (to attach)")
	}
}

func (m *mail) reproduce(run *reports.Run) {
	if run.Reproduce != "" {
		m.linef("\nTo reproduce:\n")
		m.quote(run.Reproduce)
	}
	m.linef("")
}
