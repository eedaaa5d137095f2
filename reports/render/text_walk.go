package render

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kmemgate/kmemgate/reports"
)

// cycles tells how orphans grew from load to load.
func (t *textWriter) cycles() {
	const most = 20
	shown := 0
	for _, run := range t.report.Runs {
		if len(run.Cycles) < 2 || len(run.Leaks) == 0 {
			continue
		}
		if shown++; shown > most {
			return
		}
		t.linef("")
		t.prose(t.paint.bold("orphans by cycle")+" ", runName(run)+": "+orphansByCycle(run.Cycles))
	}
}

// walks tells what failing allocations did. Of a leak it tells in the leak's place.
func (t *textWriter) walks() {
	const most = 20
	for _, run := range t.report.Runs {
		if run.Walk == nil {
			continue
		}
		t.linef("")
		t.linef("%s %s", t.paint.bold("error paths"), runName(run)+": "+walkSummary(run))
		found := troubles(run.Walk)
		for i, f := range found {
			if i == most {
				t.linef("  … and %s", plural(len(found)-most, "more finding"))
				break
			}
			t.linef("  %s  %s", t.paint.red(fmt.Sprintf("%-5s", f.Kind)), findingWords(f, t.opt))
			if line := firstLine(f.Text); line != "" {
				t.prose("         ", t.paint.dim(line))
			}
			t.errorPath(f)
		}
	}
}

// errorPath shows the way that the driver's source takes, and how to walk it again.
func (t *textWriter) errorPath(f reports.Finding) {
	for i, s := range f.Path {
		if i > 0 && s.Line > f.Path[i-1].Line+1 {
			t.linef("         %s", t.paint.dim("  … │"))
		}
		t.linef("         %s", t.paint.dim(fmt.Sprintf("%5d │ %s", s.Line, strings.ReplaceAll(s.Text, "\t", "        "))))
	}
	if f.Alone != "" {
		t.linef("         alone: %s", f.Alone)
	}
}

// walkSummary is "41 of 41 allocations failed once, 2 leaks, 1 oops".
func walkSummary(run reports.Run) string {
	w := run.Walk
	kinds := map[string]int{}
	for _, f := range w.Findings {
		kinds[f.Kind]++
	}
	parts := []string{fmt.Sprintf("%d of %s failed once", w.Failed, plural(w.Allocations, "allocation"))}
	switch {
	case w.Only > 0 && w.Failed > 0:
		parts[0] = fmt.Sprintf("a single step, allocation %d failed", w.Only)
	case w.Only > 0:
		parts[0] = fmt.Sprintf("a single step, and no allocation %d of the driver's own was met", w.Only)
	case w.Bounded:
		parts[0] += " (cut at the bound)"
	}
	for _, k := range slices.Backward(findingKinds) {
		if kinds[k] > 0 {
			parts = append(parts, plural(kinds[k], k))
		}
	}
	if len(parts) == 1 {
		parts = append(parts, harmless(run))
	}
	return strings.Join(parts, ", ")
}

// harmless is what to say of a walk without findings. Its orphans may be known
// ones, or more of them than the baseline knows: no step is to blame for that.
func harmless(run reports.Run) string {
	if run.Verdict == reports.None {
		return "and the walk is not complete"
	}
	words := "and nothing came of it"
	for _, l := range run.Leaks {
		switch {
		case len(l.Walk) == 0:
		case l.Status == reports.New:
			return "and more came of it than the baseline knows"
		default:
			words = "and nothing new came of it"
		}
	}
	return words
}

// findingKinds, the worst first.
var findingKinds = []string{"panic", "oops", "hang", "stuck", "warn", "leak"}

// findingWords is "when allocation 7 fails, in foo_probe (foo.c:33); the load
// ends with ENOMEM".
func findingWords(f reports.Finding, opt Options) string {
	words := fmt.Sprintf("when allocation %d%s fails", f.N, of(f))
	if f.Function != "" {
		words += ", in " + f.Function
		if at := place(opt.sourcePath(f.File, f.Module), f.Line); at != "" {
			words += " (" + at + ")"
		}
	}
	if f.Outcome != "" {
		words += "; " + outcome(f.Outcome)
	}
	return words
}

func of(f reports.Finding) string {
	if f.Of == "" {
		return ""
	}
	return " of " + f.Of
}

// outcome is a sentence on how a load or a script ended.
func outcome(s string) string {
	switch {
	case s == "loaded all the same":
		return "the module loads all the same"
	case s == "succeeded all the same":
		return "the script succeeds all the same"
	case s == "ETIME":
		return "the script does not end"
	case strings.HasPrefix(s, "exit "):
		return "the script ends with " + s
	case strings.HasPrefix(s, "SIG"):
		return "the script is ended by " + s
	}
	return "the load ends with " + s
}

// findings are those of the walks that led to the leak, in the run that the
// group shows.
func (g group) findings() []reports.Finding {
	for _, run := range g.runs {
		var found []reports.Finding
		if run.Walk == nil {
			continue
		}
		for _, f := range run.Walk.Findings {
			if f.Kind == "leak" && f.Signature == g.Signature {
				found = append(found, f)
			}
		}
		if len(found) > 0 {
			return found
		}
	}
	return nil
}

// walkNotes tell which failing allocations led to the leak, each in a sentence
// where its finding is at hand.
func (g group) walkNotes(opt Options) []string {
	const most = 5
	var notes []string
	found := g.findings()
	for i, f := range found {
		if i == most {
			notes = append(notes, "and when one of "+plural(len(found)-most, "more allocation")+" fails")
			break
		}
		notes = append(notes, findingWords(f, opt))
	}
	if note := walkNote(g.Walk); len(notes) == 0 && note != "" {
		notes = append(notes, note)
	}
	return notes
}

func firstLine(s string) string {
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line != "" {
			return disarm(line)
		}
	}
	return ""
}
