package render

import (
	"fmt"
	"strings"

	"github.com/mattn/go-runewidth"

	"github.com/kmemgate/kmemgate/reports"
)

// leak tells of one leak: what, how much, where, by which way, the raw record,
// and how to declare it harmless.
//
//	memory leak in leak_in_probe  leaky.c:42
//	  3 objects of 64 bytes, 192 bytes in all
//	     41 │
//	  ▶  42 │ 	f = kzalloc(sizeof(*f), GFP_KERNEL);
//	  …
func (t *textWriter) leak(g group) {
	title := t.paint.red(g.Title)
	if at := place(t.opt.sourcePath(g.File, g.Module), g.Line); at != "" {
		title += "  " + t.paint.bold(at)
	}
	t.linef("%s", title)
	t.prose("  ", amount(g.Leak))
	t.prose("  ", join(", ", g.scenario, "on "+g.where(6)))
	for _, note := range g.walkNotes(t.opt) {
		t.prose("  ", note)
	}
	if note := standing(g.Leak); note != "" {
		t.prose("  ", note)
	}
	t.source(g.Leak)
	t.walked(g)
	t.otherSites(g.Leak)
	t.backtrace(g.Frames)
	t.record(g.Leak)
	if g.Status != reports.Suppressed {
		t.linef("  %s", t.paint.dim("harmless? say so in kmemgate.yml, under suppress:"))
		t.linef("    %s", suppression(g.Leak))
	}
}

// walkNote tells which failing allocations led to a leak.
func walkNote(walk []int) string {
	const most = 5
	if len(walk) == 0 {
		return ""
	}
	var ns []string
	for _, n := range walk[:min(most, len(walk))] {
		ns = append(ns, fmt.Sprint(n))
	}
	if len(walk) > most {
		ns = append(ns, fmt.Sprintf("one of %d others", len(walk)-most))
	}
	last := len(ns) - 1
	return "when allocation " + join(" or ", strings.Join(ns[:last], ", "), ns[last]) + " fails"
}

func (t *textWriter) source(l reports.Leak) {
	if len(l.Source) > 0 {
		t.linef("")
	}
	for _, s := range l.Source {
		text := strings.ReplaceAll(s.Text, "\t", "        ")
		line := fmt.Sprintf("%5d │ %s", s.Line, strings.TrimRight(text, " "))
		if s.Line == l.Line {
			t.linef("  %s%s", t.paint.red("▶"), t.paint.bold(line))
		} else {
			t.linef("   %s", t.paint.dim(line))
		}
	}
}

// walked shows the first of the error paths that leak.
func (t *textWriter) walked(g group) {
	found := g.findings()
	if len(found) == 0 || len(found[0].Path) == 0 {
		return
	}
	t.linef("\n  %s", t.paint.dim(fmt.Sprintf("where allocation %d fails:", found[0].N)))
	t.errorPath(found[0])
}

// otherSites lists the allocating lines, where there is more than one.
func (t *textWriter) otherSites(l reports.Leak) {
	const most = 6
	if len(l.Sites) < 2 {
		return
	}
	t.linef("")
	for i, s := range l.Sites {
		if i == most {
			t.linef("  … and %s", plural(len(l.Sites)-most, "more site"))
			return
		}
		at := place(t.opt.sourcePath(s.File, l.Module), s.Line)
		if at != "" {
			at = t.paint.cyan(at)
		}
		t.linef("  %s", siteWords(s, at))
	}
}

// siteWords is what was allocated at a line, or somewhere in the kernel, whose
// lines are not always known.
func siteWords(s reports.Site, at string) string {
	words := fmt.Sprintf("%s of %s", plural(s.Count, "object"), size(s.Size))
	if where := join("  ", at, s.Text); where != "" {
		words += " at " + where
	}
	return words
}

// backtrace shows the frames in modules first, with the kernel's in a line each
// around them: the raw record below has them all.
func (t *textWriter) backtrace(frames []reports.Frame) {
	const fewest = 8 // of the kernel's own frames, where no module's is
	if len(frames) == 0 {
		t.linef("\n  %s", t.paint.dim("no backtrace: allocated before the kernel could take one"))
		return
	}
	t.linef("")
	s := splitStack(frames)
	if s.module == nil {
		s.module, s.callers = frames[:min(fewest, len(frames))], frames[min(fewest, len(frames)):]
	}
	wide := 0
	for _, f := range s.module {
		wide = max(wide, min(runewidth.StringWidth(frameName(f)), 60))
	}
	for i := 0; i < len(s.module); i++ {
		f := s.module[i]
		if n := kernelRun(s.module[i:]); n > 3 {
			t.linef("    %s", t.paint.dim(fmt.Sprintf("… %d frames of the kernel: %s … %s", n, f.Function, s.module[i+n-1].Function)))
			i += n - 1
			continue
		}
		at := place(t.opt.sourcePath(f.File, f.Module), f.Line)
		t.linef("    %s", strings.TrimRight(runewidth.FillRight(frameName(f), wide)+"  "+t.paint.cyan(at), " "))
	}
	if len(s.callers) > 0 {
		t.prose("    ", t.paint.dim("called by "+functions(s.callers, 6)))
	}
	if len(s.allocator) > 0 {
		t.prose("    ", t.paint.dim("allocated by "+functions(s.allocator, 4)))
	}
}

// kernelRun counts the leading frames that are in no module, where one that is
// in a module comes after them.
func kernelRun(frames []reports.Frame) int {
	for i, f := range frames {
		if f.Module != "" {
			return i
		}
	}
	return 0
}

// frameName is a frame as the kernel prints it: "f+0x1c [mod]".
func frameName(f reports.Frame) string {
	name := f.Function
	if f.Offset != 0 {
		name += fmt.Sprintf("+0x%x", f.Offset)
	}
	if f.Module != "" {
		name += " [" + f.Module + "]"
	}
	if f.Inlined {
		name += " (inlined)"
	}
	return name
}

func functions(frames []reports.Frame, most int) string {
	var list []string
	for i, f := range frames {
		if i == most {
			list = append(list, "…")
			break
		}
		list = append(list, f.Function)
	}
	return strings.Join(list, " ← ")
}

// record shows one raw record whole: it is what a kernel developer trusts.
func (t *textWriter) record(l reports.Leak) {
	const most = 30 // lines; a record has 2 + 3 + 17
	if len(l.Records) == 0 {
		return
	}
	t.linef("")
	lines := strings.Split(strings.TrimRight(l.Records[0], "\n"), "\n")
	for i, line := range lines {
		if i == most {
			t.linef("    %s", t.paint.dim(fmt.Sprintf("… %s more", plural(len(lines)-most, "line"))))
			break
		}
		t.linef("    %s", t.paint.dim(line))
	}
	if n := max(l.Count, len(l.Records)) - 1; n > 0 { // a report keeps the first records only
		t.linef("    %s", t.paint.dim("… and "+plural(n, "more record")+" like it"))
	}
	t.linef("")
}
