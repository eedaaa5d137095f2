package render

import (
	"bytes"
	"fmt"
	"html"
	"strings"

	"github.com/kmemgate/kmemgate/reports"
)

const (
	// A step summary may have 1 MiB; a larger one is refused whole
	// (docs.github.com, "Adding a job summary").
	markdownMost = 900_000 - 2_000 // room for the note that it was cut
	markdownRows = 400
)

// markdown collects sections until the page is full.
type markdown struct {
	*view
	buf  *bytes.Buffer
	full bool
}

// writeMarkdown writes a page for the step summary: verdict and table, then a
// folded section a leak.
func writeMarkdown(buf *bytes.Buffer, v *view) error {
	m := &markdown{view: v, buf: buf}
	m.add(fmt.Sprintf("### %s %s\n\n", emblem(v.report.Verdict), mdText(join(": ", "kmemgate", join(" — ", verdictWord(v.report.Verdict), v.headline())))))
	m.runTable()
	m.warningList()
	for _, g := range v.failing() {
		m.leak(g)
	}
	m.walks()
	m.otherLeaks()
	m.reproduce()
	if m.full {
		fmt.Fprintf(buf, "\n**This page was cut to what GitHub shows.** %s\n", m.fullReport())
	}
	return nil
}

// add writes a section whole or not at all: half a fence would swallow the rest.
func (m *markdown) add(section string) {
	if m.full || m.buf.Len()+len(section) > markdownMost {
		m.full = true
		return
	}
	m.buf.WriteString(section)
}

func (m *markdown) fullReport() string {
	url := m.opt.FullReport
	if strings.HasPrefix(url, "https://") || strings.HasPrefix(url, "http://") {
		return "[The whole report](<" + strings.NewReplacer("<", "%3C", ">", "%3E", "\n", "%0A", `\`, "%5C").Replace(clean(url)) + ">) has everything."
	}
	return "`report.json`, among the artifacts of this run, has everything."
}

func emblem(v reports.Verdict) string {
	switch v {
	case reports.Clean:
		return "✅"
	case reports.Leaks:
		return "❌"
	}
	return "⚠️"
}

func (m *markdown) runTable() {
	var b strings.Builder
	b.WriteString("| | kernel | arch | scenario | verdict | loads | allocations | devices | canary |\n|---|---|---|---|---|--:|--:|--:|--:|\n")
	for i, run := range m.report.Runs {
		if i == markdownRows {
			fmt.Fprintf(&b, "| | … and %s | | | | | | | |\n", plural(len(m.report.Runs)-i, "more run"))
			break
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %d | %d | %d | %d/%d |\n", emblem(run.Verdict),
			mdCell(run.Kernel), mdCell(run.Arch), mdCell(run.Scenario),
			mdText(join(": ", verdictWord(run.Verdict), runSummary(run))),
			run.Stats.Loads, run.Stats.Tracked, run.Stats.Devices, run.Canary.Found, run.Canary.Expected)
	}
	b.WriteByte('\n')
	m.add(b.String())
}

func (m *markdown) warningList() {
	for i, w := range m.warnings() {
		if i == 20 {
			m.add("- …\n")
			break
		}
		m.add("- ⚠️ " + mdText(w) + "\n")
	}
	m.add("\n")
}

func (m *markdown) leak(g group) {
	at := place(m.opt.sourcePath(g.File, g.Module), g.Line)
	var b strings.Builder
	fmt.Fprintf(&b, "<details><summary><b>%s</b> %s</summary>\n\n",
		html.EscapeString(g.Title), html.EscapeString(join(": ", at, amount(g.Leak))))
	b.WriteString("Seen in " + mdText(join(", ", g.scenario, "on "+g.where(8))) + ".\n\n")
	for _, note := range g.walkNotes(m.opt) {
		b.WriteString("- " + mdText(note) + "\n")
	}
	for i, f := range g.findings() {
		if i == 0 {
			b.WriteString("\n" + mdPath(f))
		}
	}
	if note := standing(g.Leak); note != "" {
		b.WriteString("**" + mdText(note) + "**\n\n")
	}
	if len(g.Source) > 0 {
		b.WriteString(fence("c", excerpt(g.Leak)))
	}
	var frames []string
	for _, f := range g.Frames {
		frames = append(frames, join("  ", frameName(f), place(m.opt.sourcePath(f.File, f.Module), f.Line)))
	}
	if len(frames) > 0 {
		b.WriteString(fence("", strings.Join(frames, "\n")))
	}
	if len(g.Records) > 0 {
		b.WriteString("Raw record" + mdText(others(g.Leak)) + ":\n\n" + fence("", strings.TrimRight(g.Records[0], "\n")))
	}
	b.WriteString("To declare it harmless, in `kmemgate.yml`:\n\n" + fence("yaml", "suppress:\n  "+suppression(g.Leak)))
	b.WriteString("</details>\n\n")
	m.add(b.String())
}

// others is " (and 2 more like it)".
func others(l reports.Leak) string {
	n := max(l.Count, len(l.Records)) - 1 // a report keeps the first records only
	if n < 1 {
		return ""
	}
	return fmt.Sprintf(" (and %d more like it)", n)
}

// excerpt is the source with line numbers, the line itself marked.
func excerpt(l reports.Leak) string {
	var lines []string
	for _, s := range l.Source {
		mark := " "
		if s.Line == l.Line {
			mark = ">"
		}
		lines = append(lines, strings.TrimRight(fmt.Sprintf("%s %5d  %s", mark, s.Line, s.Text), " \t"))
	}
	return strings.Join(lines, "\n")
}

func (m *markdown) walks() {
	for _, run := range m.report.Runs {
		if run.Walk == nil {
			continue
		}
		var b strings.Builder
		fmt.Fprintf(&b, "<details><summary><b>Error paths</b>, %s: %s</summary>\n\n",
			html.EscapeString(runName(run)), html.EscapeString(walkSummary(run)))
		for i, f := range troubles(run.Walk) {
			if i == 100 {
				b.WriteString("- …\n")
				break
			}
			fmt.Fprintf(&b, "- **%s** %s\n", mdText(f.Kind), mdText(join(": ", findingWords(f, m.opt), firstLine(f.Text))))
			if path := mdPath(f); path != "" {
				b.WriteString("\n" + path)
			}
		}
		b.WriteString("\n</details>\n\n")
		m.add(b.String())
	}
}

// mdPath is a finding's error path, and the command that walks it again.
func mdPath(f reports.Finding) string {
	text := ""
	if path := pathText(f); path != "" {
		text = fence("c", path)
	}
	if f.Alone != "" {
		text += fence("sh", f.Alone)
	}
	return text
}

// pathText is an error path with line numbers.
func pathText(f reports.Finding) string {
	var lines []string
	for i, s := range f.Path {
		if i > 0 && s.Line > f.Path[i-1].Line+1 {
			lines = append(lines, "      …")
		}
		lines = append(lines, strings.TrimRight(fmt.Sprintf("%7d  %s", s.Line, s.Text), " \t"))
	}
	return strings.Join(lines, "\n")
}

// otherLeaks are those that do not fail the gate.
func (m *markdown) otherLeaks() {
	if m.asides() == "" {
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "<details><summary>Leaks that do not count: %s</summary>\n\n| status | leak | where | how much | note |\n|---|---|---|---|---|\n", m.asides())
	for i, g := range m.aside() {
		if i == markdownRows {
			b.WriteString("| … | | | | |\n")
			break
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", mdText(string(g.Status)), mdText(g.Title),
			mdCell(place(m.opt.sourcePath(g.File, g.Module), g.Line)), mdText(amount(g.Leak)), mdText(g.Note))
	}
	b.WriteString("\n</details>\n\n")
	m.add(b.String())
}

func (m *markdown) reproduce() {
	var lines []string
	for _, run := range m.report.Runs {
		if run.Reproduce != "" && run.Verdict != reports.Clean && len(lines) < 50 {
			lines = append(lines, run.Reproduce)
		}
	}
	if len(lines) > 0 {
		m.add("To reproduce:\n\n" + fence("sh", strings.Join(lines, "\n")))
	}
}

// mdText quotes text that stands within a line, never at its start. The pipe
// and the backslash are entities: tables are cut at pipes before anything else
// is read, and not all readers agree on what a backslash does there. URLs lose
// their colon and "www" its dot, so that nothing becomes a link.
func mdText(s string) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case strings.ContainsRune(`<>&|\`, r),
			r == ':' && strings.HasPrefix(s[i:], "://"),
			r == '.' && i > 0 && (s[i-1] == 'w' || s[i-1] == 'W'):
			fmt.Fprintf(&b, "&#%d;", r)
		case strings.ContainsRune("`*_[]#!~@$", r):
			b.WriteRune('\\')
			b.WriteRune(r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// mdCell quotes a name in a table's cell.
func mdCell(s string) string {
	if s == "" {
		return ""
	}
	return "<code>" + mdText(s) + "</code>"
}

// fence makes a code block that its text cannot end.
func fence(language, text string) string {
	ticks := backticks(text, 3)
	return ticks + language + "\n" + text + "\n" + ticks + "\n\n"
}

// backticks is a run of them longer than any in s.
func backticks(s string, least int) string {
	run, longest := 0, least-1
	for _, r := range s {
		if r != '`' {
			run = 0
			continue
		}
		run++
		longest = max(longest, run)
	}
	return strings.Repeat("`", longest+1)
}
