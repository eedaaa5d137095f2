package render

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/kmemgate/kmemgate/reports"
)

// plural is "1 leak", "2 leaks".
func plural(n int, word string) string {
	switch {
	case n == 1 || n == -1:
	case strings.HasSuffix(word, "y"):
		word = strings.TrimSuffix(word, "y") + "ies"
	case strings.HasSuffix(word, "s"):
		word += "es"
	default:
		word += "s"
	}
	return fmt.Sprintf("%d %s", n, word)
}

// size is "192 bytes", "1.2 KiB".
func size(n int64) string {
	if n < 1024 {
		return plural(int(n), "byte")
	}
	return humanize.IBytes(uint64(n))
}

// join joins what is not empty.
func join(sep string, parts ...string) string {
	var some []string
	for _, p := range parts {
		if p != "" {
			some = append(some, p)
		}
	}
	return strings.Join(some, sep)
}

// place is "leaky.c:42", or the file alone where the line is not known.
func place(file string, line int) string {
	if file == "" || line <= 0 {
		return file
	}
	return file + ":" + strconv.Itoa(line)
}

// amount tells how much leaked:
// "1 object of 64 bytes and 2 objects reachable only from it, 192 bytes in all, 1 per cycle".
func amount(l reports.Leak) string {
	kind := "object"
	if l.Kind == "percpu" || l.Kind == "phys" {
		kind = l.Kind + " object"
	}
	heads := l.Count - l.Children // Size is that of most of them
	parts := []string{plural(heads, kind) + " of " + size(l.Size)}
	switch {
	case l.Count <= 1:
	case l.Children > 0:
		parts[0] += " and " + plural(l.Children, "object") + " reachable only from " + pronoun(heads)
		parts = append(parts, size(l.Bytes)+" in all")
	case l.Bytes == l.Size*int64(l.Count):
		parts = append(parts, size(l.Bytes)+" in all")
	default:
		parts = []string{plural(l.Count, kind) + " of mostly " + size(l.Size), size(l.Bytes) + " in all"}
	}
	switch {
	case l.PerCycle > 0:
		parts = append(parts, strconv.FormatFloat(l.PerCycle, 'g', 3, 64)+" per cycle")
	case len(l.Cycles) > 0:
		parts = append(parts, "once")
	}
	return strings.Join(parts, ", ")
}

func pronoun(n int) string {
	if n == 1 {
		return "it"
	}
	return "them"
}

// headline is the report in one sentence.
func (v *view) headline() string {
	t := v.tally
	switch v.report.Verdict {
	case reports.Leaks:
		walked := ""
		if t.findings > 0 {
			walked = plural(t.findings, "failing error path")
		}
		return join(", ", v.counted(), walked, v.undecided())
	case reports.Clean:
		return join(", ", "nothing new in "+plural(t.runs[reports.Clean], "run"), v.undecided())
	case reports.None:
		return v.undecided()
	case reports.Skipped:
		return "none of " + plural(len(v.report.Runs), "run") + " applies"
	}
	return ""
}

// undecided tells of the runs without a verdict: never a pass, so never unsaid.
func (v *view) undecided() string {
	t := v.tally
	var parts []string
	if n := t.runs[reports.None]; n > 0 {
		parts = append(parts, fmt.Sprintf("%d of %s without a verdict", n, plural(len(v.report.Runs), "run")))
	}
	if n := t.runs[reports.Skipped]; n > 0 {
		parts = append(parts, fmt.Sprintf("%d skipped", n))
	}
	return strings.Join(parts, ", ")
}

// verdictWord is how a verdict is said to people.
func verdictWord(v reports.Verdict) string {
	if v == reports.None {
		return "no verdict"
	}
	return string(v)
}

// runSummary is what a run found, in a few words.
func runSummary(run reports.Run) string {
	if run.Verdict == reports.None || run.Verdict == reports.Skipped {
		return join(": ", run.Reason, strings.ReplaceAll(strings.TrimSpace(run.Detail), "\n", "; "))
	}
	failed, asides := map[reports.Status]int{}, 0
	for _, l := range run.Leaks {
		if failing(&run, l) {
			failed[l.Status]++
		} else {
			asides++
		}
	}
	var parts []string
	for _, s := range statuses {
		if n := failed[s]; n > 0 {
			parts = append(parts, plural(n, string(s)+" leak"))
		}
	}
	if asides > 0 {
		parts = append(parts, fmt.Sprintf("%d not counted", asides))
	}
	if n := len(troubles(run.Walk)); n > 0 {
		parts = append(parts, plural(n, "failing error path"))
	}
	if len(parts) == 0 {
		return "nothing new"
	}
	return strings.Join(parts, ", ")
}

// work tells what a run did, so that a green run that did nothing shows, and how
// its time passed.
func work(run reports.Run) string {
	s := run.Stats
	return join(", ", plural(s.Loads, "load"), plural(s.Tracked, "allocation"), plural(s.Devices, "device"),
		fmt.Sprintf("canary %d/%d", run.Canary.Found, run.Canary.Expected), join(" ", run.Clock, run.Boot))
}

// orphansByCycle is "1 → 2 → 3".
func orphansByCycle(cycles []reports.CycleResult) string {
	const most = 24
	var parts []string
	for i, c := range cycles {
		if i == most {
			parts = append(parts, fmt.Sprintf("… (%d cycles)", len(cycles)))
			break
		}
		parts = append(parts, strconv.Itoa(c.Orphans))
	}
	return strings.Join(parts, " → ")
}

// suppression is the entry for kmemgate.yml. Go's quoting in ASCII is also
// YAML's double-quoted style.
func suppression(l reports.Leak) string {
	return fmt.Sprintf("- {signature: %s, reason: %s}", strconv.QuoteToASCII(l.Signature), `"say why it is harmless"`)
}
