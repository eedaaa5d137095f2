package history

import (
	"fmt"
	"regexp"
	"strings"
)

// Issue is an issue of a tracker, as `gh issue list --json
// number,title,body,state` prints it.
type Issue struct {
	Number int    `json:"number"`
	Title  string `json:"title"`
	Body   string `json:"body"`
	State  string `json:"state"` // OPEN or CLOSED
}

// marker is the last line of an issue's text. It ties the issue to the leak,
// whatever people do to its title, and tells whether we closed it.
var marker = regexp.MustCompile(`<!-- kmemgate:([0-9a-f]{16}) (open|closed) -->`)

func markerOf(key, state string) string { return fmt.Sprintf("<!-- kmemgate:%s %s -->", key, state) }

// keyOf finds the leak that an issue is about.
func keyOf(i Issue) (key, state string, ok bool) {
	all := marker.FindAllStringSubmatch(i.Body, -1)
	if len(all) == 0 {
		return "", "", false
	}
	last := all[len(all)-1] // what stands before could be a quotation
	return last[1], last[2], true
}

// IssueTitle is the title of the issue about a leak. Trackers take titles for
// plain text, but for mentions.
func IssueTitle(l Leak) string {
	return strings.ReplaceAll(fmt.Sprintf("%s (%s, %s)", l.Title, l.Scenario, l.Line), "@", "@\u200d")
}

// IssueBody is the text of the issue about a leak, in GitHub's Markdown. Names
// stand in code spans and the trace in a fence that it cannot close: a module
// can mention nobody and link nothing.
func IssueBody(l Leak) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("%s: %s.\n", lead(l), escapeMarkdown(l.Why))
	p("| | |\n|---|---|")
	row := func(what, value string) {
		if value != "" {
			p("| %s | %s |", what, value)
		}
	}
	row("leak", span(l.Title))
	row("scenario", span(l.Scenario))
	row("module", spanned(l.Module))
	if l.File != "" {
		row("allocated at", span(fmt.Sprintf("%s:%d", l.File, l.FileLine)))
	}
	row("first seen", sightingCell(l.First))
	row("last seen", sightingCell(l.Last))
	if l.LastClean != nil {
		row("last run without it", sightingCell(*l.LastClean))
	}
	if l.FixedIn != nil {
		row("gone since", sightingCell(*l.FixedIn))
	}
	row("architectures", escapeMarkdown(commas(l.Arches)))
	row("also seen on", escapeMarkdown(commas(l.Elsewhere)))
	row("orphans", fmt.Sprintf("%d, %s in all", l.Count, humanBytes(l.Bytes)))
	row("signature", span(l.Signature))
	if l.Record != "" {
		p("\n%s", fenced(l.Record))
	}
	if l.Last.Reproduce != "" {
		p("\nReproduce it:\n\n%s", fenced(l.Last.Reproduce))
	}
	p("\nkmemgate keeps this text up to date and closes the issue when the leak is fixed. Who closes it by hand is not asked again.\n")
	state := "open"
	if l.State != Regression {
		state = "closed"
	}
	b.WriteString(markerOf(l.Key, state))
	return b.String()
}

func lead(l Leak) string {
	switch l.State {
	case Regression:
		return fmt.Sprintf("A leak is new for scenario %s on Linux %s, and a second run confirmed it", span(l.Scenario), escapeMarkdown(l.Line))
	case Fixed:
		return "The leak is fixed"
	case Flaky:
		return "The leak is flaky"
	case Accepted:
		return "The leak was accepted"
	}
	return "The leak is no longer a confirmed regression"
}

func sightingCell(s Sighting) string {
	text := fmt.Sprintf("night %s, Linux %s", span(s.Night), span(s.Kernel))
	if s.Commit != "" {
		text += " at " + span(s.Commit)
	}
	return text + ", " + escapeMarkdown(s.Arch)
}

// escapeMarkdown makes plain text of s. A backslash does not keep GitHub from
// taking "@name" for a mention, a zero-width joiner after the @ does.
func escapeMarkdown(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case strings.ContainsRune("\\`*{}[]()<>#|!~&", r):
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '@':
			b.WriteString("@\u200d")
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// span is a code span. A pipe would end the table's cell, also in a span.
func span(s string) string {
	ticks := strings.Repeat("`", longestRun(s, '`')+1)
	pad := ""
	if strings.HasPrefix(s, "`") || strings.HasSuffix(s, "`") {
		pad = " "
	}
	return ticks + pad + strings.ReplaceAll(s, "|", `\|`) + pad + ticks
}

func spanned(s string) string {
	if s == "" {
		return ""
	}
	return span(s)
}

// fenced is a code block with a fence longer than any in s.
func fenced(s string) string {
	fence := strings.Repeat("`", max(3, longestRun(s, '`')+1))
	return fence + "\n" + s + "\n" + fence
}

func longestRun(s string, c rune) (longest int) {
	run := 0
	for _, r := range s {
		if run++; r != c {
			run = 0
		}
		longest = max(longest, run)
	}
	return longest
}
