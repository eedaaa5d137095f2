package render

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the page's parts
	"encoding/base64"
	"fmt"
	"html/template"
	"slices"
	"strconv"
	"strings"

	"github.com/kmemgate/kmemgate/reports"
)

var (
	//go:embed page/page.html
	pageHTML string
	//go:embed page/page.css
	pageCSS string
	//go:embed page/page.js
	pageJS string

	pageTemplate = template.Must(template.New("page").Parse(pageHTML))

	// pageCSP lets nothing in from a network and lets no script run but ours,
	// whatever a hostile name might get past html/template. Style attributes
	// are what the plotting library writes.
	pageCSP = fmt.Sprintf("default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; style-src 'unsafe-inline'; script-src '%s'", hashOf(pageJS))
)

func hashOf(script string) string {
	sum := sha256.Sum256([]byte(script))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// page is what the template shows: words and classes, nothing to decide.
type page struct {
	CSP                             string
	CSS                             template.CSS
	JS                              template.JS
	Verdict, Word, Headline, Asides string
	Warnings                        []string
	Columns                         []pageColumn
	Rows                            []pageRow
	Icicle                          icicle
	Statuses                        []pageStatus
	Leaks                           []pageLeak
	Runs                            []pageRun
}

type pageStatus struct {
	Status reports.Status
	Count  int
	Fails  bool // some of them
}

// pageLeak is one leak. Class names are made of our own words, never of the
// report's: see class.
type pageLeak struct {
	N                                int
	Status, Title, At, Much, RunList string
	Find                             string // what the search looks in, lower case
	Seen, Note, Record, More         string
	Source, Frames                   []pageLine
	Sites, Reproduce                 []string
	Suppress                         string
	Fails                            bool
}

type pageLine struct{ Class, Text string }

// writeHTML writes one file that needs nothing else: no network, and no script
// to be read, only to be filtered.
func writeHTML(buf *bytes.Buffer, v *view) error {
	p := page{
		CSP: pageCSP, CSS: template.CSS(pageCSS), JS: template.JS(pageJS),
		Verdict: class(string(v.report.Verdict)), Word: verdictWord(v.report.Verdict), Headline: v.headline(), Asides: v.asides(),
		Warnings: v.warnings(),
		Icicle:   newIcicle(v.report.Runs),
	}
	p.Columns, p.Rows = v.grid()
	for _, s := range statuses {
		if n := v.tally.leaks[s]; n > 0 {
			fails := slices.ContainsFunc(v.failing(), func(g group) bool { return g.Status == s })
			p.Statuses = append(p.Statuses, pageStatus{s, n, fails})
		}
	}
	for i, g := range v.leaks {
		p.Leaks = append(p.Leaks, v.pageLeak(i, g))
	}
	for i := range v.report.Runs {
		p.Runs = append(p.Runs, v.pageRun(i))
	}
	return pageTemplate.Execute(buf, p)
}

// class makes a class name of a word of the report: one of those that the
// style sheet knows, or none.
func class(word string) string {
	known := []string{"clean", "leaks", "none", "skipped", "new", "known", "suppressed", "transient", "noise", "leak", "oops", "panic", "hang", "stuck", "warn"}
	if slices.Contains(known, word) {
		return word
	}
	return "other"
}

func (v *view) pageLeak(n int, g group) pageLeak {
	l := pageLeak{
		N: n, Fails: g.fails, Status: class(string(g.Status)), Title: g.Title, Much: amount(g.Leak), Note: g.Note,
		At:    place(v.opt.sourcePath(g.File, g.Module), g.Line),
		Seen:  join(", ", g.scenario, "on "+g.where(12), walkNote(g.Walk)) + ".",
		Sites: v.sites(g.Leak),
	}
	for _, run := range g.runs {
		i := v.runIndex(run)
		l.RunList = join(" ", l.RunList, strconv.Itoa(i))
	}
	for _, s := range g.Source {
		line := pageLine{"", fmt.Sprintf("%5d  %s", s.Line, s.Text)}
		if s.Line == g.Line {
			line.Class = "hit"
		}
		l.Source = append(l.Source, line)
	}
	l.Source = mergeLines(l.Source)
	l.Frames = v.pageFrames(g.Frames)
	if len(g.Records) > 0 {
		l.Record = strings.TrimRight(g.Records[0], "\n")
		l.More = strings.TrimSpace(others(g.Leak))
	}
	if g.fails && g.Status != reports.Suppressed {
		l.Suppress = suppression(g.Leak)
	}
	l.Reproduce = g.reproduce(8)
	l.Find = findText(g, l)
	return l
}

func (v *view) runIndex(run *reports.Run) int {
	for i := range v.report.Runs {
		if &v.report.Runs[i] == run {
			return i
		}
	}
	return -1
}

func (v *view) sites(l reports.Leak) []string {
	if len(l.Sites) < 2 {
		return nil
	}
	var words []string
	for _, s := range l.Sites {
		at := place(v.opt.sourcePath(s.File, l.Module), s.Line)
		words = append(words, siteWords(s, at))
	}
	return words
}

func (v *view) pageFrames(frames []reports.Frame) []pageLine {
	var lines []pageLine
	for _, f := range frames {
		line := pageLine{"kernel", join("  ", frameName(f), place(v.opt.sourcePath(f.File, f.Module), f.Line))}
		if f.Module != "" {
			line.Class = "module"
		}
		lines = append(lines, line)
	}
	return mergeLines(lines)
}

// mergeLines makes one of neighbours of one class: with 5,000 leaks, elements
// are what a browser spends its time on.
func mergeLines(lines []pageLine) []pageLine {
	var merged []pageLine
	for _, line := range lines {
		if n := len(merged); n > 0 && merged[n-1].Class == line.Class {
			merged[n-1].Text += "\n" + line.Text
			continue
		}
		merged = append(merged, line)
	}
	return merged
}

// findText is what one may search a leak by.
func findText(g group, l pageLeak) string {
	words := []string{g.Title, l.At, g.Module, g.Signature, g.scenario, g.Kind, g.Note}
	for _, f := range g.Frames {
		words = append(words, f.Function)
	}
	slices.Sort(words)
	return strings.ToLower(strings.Join(slices.Compact(words), " "))
}
