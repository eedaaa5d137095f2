package render

import (
	"fmt"
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

// walks tells what failing allocations did beside leaking.
func (t *textWriter) walks() {
	const most = 20
	for _, run := range t.report.Runs {
		if run.Walk == nil {
			continue
		}
		t.linef("")
		t.linef("%s %s", t.paint.bold("error paths"), runName(run)+": "+walkSummary(*run.Walk))
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
		}
	}
}

// walkSummary is "41 of 43 allocations failed, one a load; 3 of them leak, 1 oops".
func walkSummary(w reports.WalkResult) string {
	kinds := map[string]int{}
	for _, f := range w.Findings {
		kinds[f.Kind]++
	}
	text := fmt.Sprintf("%d of %s failed, one a time", w.Failed, plural(w.Allocations, "allocation"))
	if w.Bounded {
		text += " (cut at the bound)"
	}
	var parts []string
	for _, k := range findingKinds {
		if kinds[k] > 0 {
			parts = append(parts, plural(kinds[k], k))
		}
	}
	if len(parts) == 0 {
		return text + ", and nothing came of it"
	}
	return text + ": " + strings.Join(parts, ", ")
}

// findingKinds, the worst first.
var findingKinds = []string{"panic", "oops", "hang", "warn", "leak"}

// findingWords is "when allocation 7 fails, in foo_probe (foo.c:33)".
func findingWords(f reports.Finding, opt Options) string {
	words := fmt.Sprintf("when allocation %d fails", f.N)
	s := splitStack(f.Stack)
	frames := s.module
	if frames == nil {
		frames = s.callers
	}
	if len(frames) == 0 {
		return words
	}
	words += ", in " + frames[0].Function
	if at := place(opt.sourcePath(frames[0].File, frames[0].Module), frames[0].Line); at != "" {
		words += " (" + at + ")"
	}
	return words
}

func firstLine(s string) string {
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line != "" {
			return disarm(line)
		}
	}
	return ""
}
