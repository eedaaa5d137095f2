package render

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/mattn/go-runewidth"
	"github.com/muesli/reflow/ansi"
	"github.com/muesli/reflow/wordwrap"

	"github.com/kmemgate/kmemgate/reports"
)

const (
	textDetailed = 25  // leaks told in full; the rest get a line each
	textListed   = 200 // lines of leaks told in short
	textWidth    = 100 // where there is no terminal
)

// textWriter writes the report for a person at a terminal.
type textWriter struct {
	*bytes.Buffer
	*view
	paint palette
	width int
}

func writeText(buf *bytes.Buffer, v *view) error {
	t := &textWriter{Buffer: buf, view: v, paint: newPalette(v.opt.Color), width: cmp.Or(v.opt.Width, textWidth)}
	t.headline()
	t.runs()
	t.leakList()
	t.cycles()
	t.walks()
	t.troubles()
	t.ending()
	return nil
}

func (t *textWriter) linef(format string, args ...any) {
	fmt.Fprintf(t, format+"\n", args...)
}

// prose folds a sentence to the terminal, each line after prefix.
func (t *textWriter) prose(prefix, text string) {
	wide := ansi.PrintableRuneWidth(prefix)
	room, rest := max(t.width-wide, 20), strings.Repeat(" ", wide)
	for i, line := range strings.Split(wordwrap.String(text, room), "\n") {
		if i > 0 {
			prefix = rest
		}
		t.linef("%s%s", prefix, disarm(line))
	}
}

func (t *textWriter) headline() {
	word := strings.ToUpper(verdictWord(t.report.Verdict))
	t.prose(t.paint.verdict(t.report.Verdict, word)+"  ", t.view.headline())
	if a := t.asides(); a != "" {
		t.prose(strings.Repeat(" ", len(word)+2), t.paint.dim("not counted: "+a))
	}
}

// runs is a table, a line a run.
func (t *textWriter) runs() {
	const widest = 60
	var rows [][]string
	wide := make([]int, 5)
	for _, run := range t.report.Runs {
		row := []string{run.Kernel, run.Arch, run.Scenario, verdictWord(run.Verdict), runSummary(run)}
		if run.Verdict == reports.None || run.Verdict == reports.Skipped {
			row[4] = run.Reason // the detail has its own place below
		}
		for i, cell := range row {
			wide[i] = max(wide[i], min(runewidth.StringWidth(cell), widest))
		}
		rows = append(rows, row)
	}
	t.linef("")
	for i, run := range t.report.Runs {
		row := rows[i]
		for j := range row {
			row[j] = runewidth.FillRight(row[j], wide[j])
		}
		row[3] = t.paint.verdict(run.Verdict, row[3])
		if run.Verdict == reports.Clean || run.Verdict == reports.Leaks {
			row = append(row, t.paint.dim(work(run)))
		}
		t.linef("%s", strings.TrimRight(disarm("  "+strings.Join(row, "  ")), " "))
	}
}

// leakList tells the leaks that fail in full, the others in a line.
func (t *textWriter) leakList() {
	told := min(len(t.failing()), textDetailed)
	for _, g := range t.leaks[:told] {
		t.linef("")
		t.leak(g)
	}
	rest := t.leaks[told:]
	if len(rest) == 0 {
		return
	}
	t.linef("")
	for j, g := range rest {
		if j == textListed {
			t.linef("  … and %s, all in report.json", plural(len(rest)-j, "more leak"))
			break
		}
		note := join(", ", place(t.opt.sourcePath(g.File, g.Module), g.Line), amount(g.Leak))
		t.linef("  %s %s  %s", t.paint.status(g.Status, fmt.Sprintf("%-10s", g.Status)), g.Title,
			t.paint.dim(join(" — ", note, g.Note)))
	}
}

// troubles are what keeps a run from a verdict, and what a verdict does not say.
func (t *textWriter) troubles() {
	for _, run := range t.report.Runs {
		if run.Verdict == reports.None || run.Verdict == reports.Skipped {
			t.linef("")
			t.linef("%s %s: %s", t.paint.verdict(run.Verdict, verdictWord(run.Verdict)), runName(run), run.Reason)
			for line := range strings.Lines(run.Detail) {
				t.prose("  ", strings.TrimSuffix(line, "\n"))
			}
		}
	}
	warnings := t.warnings()
	if len(warnings) > 0 {
		t.linef("")
	}
	for _, w := range warnings {
		t.prose(t.paint.yellow("warning: "), w)
	}
}

// warnings of the report and its runs; what several runs say is said once.
func (v *view) warnings() []string {
	list := slices.Clone(v.report.Warnings)
	who := map[string][]string{}
	var order []string
	add := func(run reports.Run, text string) {
		if who[text] == nil {
			order = append(order, text)
		}
		who[text] = append(who[text], runName(run))
	}
	for _, run := range v.report.Runs {
		for _, w := range run.Warnings {
			add(run, w)
		}
		for _, a := range run.Audit {
			add(run, audit(a))
		}
	}
	for _, text := range order {
		list = append(list, names(who[text])+": "+text)
	}
	return list
}

func audit(a reports.AuditEntry) string {
	if a.Function == "" {
		return fmt.Sprintf("module %s imports %s, which can hide a leak from kmemleak", a.Module, a.Import)
	}
	return fmt.Sprintf("module %s calls %s in %s, which can hide a leak from kmemleak", a.Module, a.Import, a.Function)
}

func names(list []string) string {
	if len(list) > 3 {
		return fmt.Sprintf("%s and %s", strings.Join(list[:2], ", "), plural(len(list)-2, "more run"))
	}
	return strings.Join(list, ", ")
}

// Ending writes how a run ended, for a person who sees no text report: what
// stdout has then is for a program.
func Ending(w io.Writer, r reports.Report, opt Options) error {
	t := &textWriter{Buffer: &bytes.Buffer{}, view: newView(r, opt), paint: newPalette(opt.Color), width: cmp.Or(opt.Width, textWidth)}
	t.headline()
	t.ending()
	_, err := w.Write(t.Bytes())
	return err
}

// ending says where the evidence is and how to see it again, of the runs that
// need looking at, or of all where none does.
func (t *textWriter) ending() {
	const most = 8
	t.linef("")
	bad := func(run reports.Run) bool { return run.Verdict != reports.Clean && run.Dir+run.Reproduce != "" }
	shown := 0
	for _, run := range t.report.Runs {
		if run.Dir+run.Reproduce == "" || !bad(run) && slices.ContainsFunc(t.report.Runs, bad) {
			continue
		}
		if shown++; shown > most {
			t.linef("%s", t.paint.dim("… the other runs are in report.json"))
			break
		}
		if dir := t.opt.evidence(run); dir != "" {
			t.linef("%s %s", t.paint.dim("evidence: "), dir)
		}
		if run.Reproduce != "" {
			t.linef("%s %s", t.paint.dim("reproduce:"), run.Reproduce)
		}
	}
	if bytes.Count(t.Bytes(), []byte("\n")) > 40 { // the top has scrolled away
		t.headline()
	}
}
