package reports

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// walkPart is what a walk is of: a module's load, or the script.
type walkPart struct {
	module string // empty: the script
	only   bool
}

func (p walkPart) String() string {
	if p.module == "" {
		return "exercise"
	}
	return "the load of " + p.module
}

// walkedStep is what counts of a step.
type walkedStep struct {
	n        int
	injected bool
	own      bool // the module's own allocation, or all are wanted
}

// walkFindings turns the steps of a walk into its result: what killed or shook
// the guest. Leaks follow when the orphans are known (walkLeaks).
func (j *judge) walkFindings() {
	data := j.c.Walk
	if data == nil {
		return
	}
	w := &WalkResult{Findings: []Finding{}, part: walkPart{data.Module, data.Only}}
	if data.Only {
		w.Only = data.From
	}
	for _, s := range data.Steps {
		w.steps = append(w.steps, walkedStep{s.N, s.Injected, j.counts(s)})
		if kind, text := s.outcome(); kind != "" && j.tells(s) && (kind != ReasonWarn || !j.p.AllowWarn) {
			f := j.finding(s, kind)
			f.Text = text
			w.Findings = append(w.Findings, f)
		}
	}
	w.count(w.steps)
	j.run.Walk = w
}

// count sums the steps up. Those behind the first that met no fault do not
// count: another clone may have begun there before that was known.
func (w *WalkResult) count(steps []walkedStep) {
	end, last := 0, 0
	for _, s := range steps {
		if last = max(last, s.n); !s.injected && (end == 0 || s.n < end) {
			end = s.n
		}
	}
	made := map[int]walkedStep{}
	for _, s := range steps {
		if s.injected && (end == 0 || s.n < end) {
			made[s.n] = s
		}
	}
	for n := range made {
		if made[n].own {
			w.Failed++
		}
	}
	switch {
	case w.part.only:
		w.Allocations = len(made)
		return
	case end > 0:
		last = end - 1
	}
	w.Bounded = end == 0 && last > 0            // a guest that made no step is lost
	w.Allocations = last - len(made) + w.Failed // those that nobody tried may be the module's
}

// unwalked says which step of a piece was asked for and never made; it is empty
// where the piece is whole.
func (d *WalkData) unwalked() string {
	next := d.From
	for _, s := range d.Steps {
		if s.N != next {
			break
		}
		if next++; !s.Injected || s.Died != "" || s.Stays {
			return ""
		}
	}
	if next > d.To {
		return ""
	}
	return fmt.Sprintf("allocations %d to %d were to fail, one by one, and the guest told of none from %d on", d.From, d.To, next)
}

// counts tells whether a step's allocation is one of those to be walked: the
// module's own, unless all are wanted. Where the kernel did not filter and
// printed no stack (__GFP_NOWARN), it cannot be told and does not count.
func (j *judge) counts(s WalkStep) bool {
	frames := faultFrames(s.Dmesg)
	return j.c.Walk.All || !s.Injected || s.Filtered && len(frames) == 0 || j.own(frames)
}

// tells tells whether what came of a step is told: all of it but what other
// people's allocations did.
func (j *judge) tells(s WalkStep) bool {
	return s.Injected && (j.counts(s) || len(faultFrames(s.Dmesg)) == 0)
}

// own tells whether a module under test made an allocation. kmemleak's record of
// it is made with the module on the stack as well, and is none.
func (j *judge) own(frames []RawFrame) bool {
	return slices.ContainsFunc(frames, func(f RawFrame) bool { return j.underTest[f.Module] }) &&
		!slices.ContainsFunc(frames, func(f RawFrame) bool { return f.Module == "" && strings.HasPrefix(f.Symbol, "kmemleak_") })
}

// finding tells of a step, without what became of it.
func (j *judge) finding(s WalkStep, kind string) Finding {
	f := Finding{N: s.N, Kind: kind, Outcome: j.ended(s), Stack: j.faultStack(s), Alone: j.alone(s.N)}
	if blamed := blame(f.Stack, j.underTest); len(blamed) > 0 {
		at := blamed[0]
		f.Function, f.Module, f.File, f.Line = baseName(at.Function), at.Module, at.File, at.Line
		f.Path = j.src.errorPath(f.File, f.Line)
	}
	return f
}

// ended is how the load or the script of a step ended.
func (j *judge) ended(s WalkStep) string {
	switch {
	case s.Died != "" && s.Died != ReasonStuck:
		return ""
	case s.Errno != "":
		return s.Errno
	case j.c.Walk.Module == "":
		return "succeeded all the same"
	}
	return "loaded all the same"
}

// alone is the command that walks one step again.
func (j *judge) alone(n int) string {
	if j.c.Command == "" {
		return ""
	}
	words := []string{fmt.Sprint(n)}
	if j.c.Walk.All {
		words = append([]string{"all"}, words...)
	}
	if j.c.Walk.Module == "" {
		words = append([]string{"exercise"}, words...)
	}
	var rest []string
	for _, arg := range strings.Split(j.c.Command, " ") {
		if !strings.HasPrefix(arg, "--error-paths") {
			rest = append(rest, arg)
		}
	}
	return strings.Join(rest, " ") + " --error-paths=" + strings.Join(words, ",")
}

// outcome is what a step did to the guest: what the host saw of it, else what
// the kernel's log says.
func (s WalkStep) outcome() (kind, text string) {
	trouble := dmesgTrouble([]byte(s.Dmesg))
	if s.Died != "" {
		for _, reason := range []string{s.Died, ReasonOops, ReasonPanic, ReasonWarn} {
			if trouble[reason] != "" {
				return s.Died, trouble[reason]
			}
		}
		return s.Died, s.Why
	}
	for _, reason := range []string{ReasonPanic, ReasonOops, ReasonWarn} {
		if trouble[reason] != "" {
			return reason, trouble[reason]
		}
	}
	if s.Errno == "ETIME" { // a script that its agent ended
		return ReasonHang, ""
	}
	return "", ""
}

// walkSaw tells whether a line of the kernel log belongs to a step of the walk
// and is reported with it, or is of a step that does not count.
func (j *judge) walkSaw(reason, line string) bool {
	if j.c.Walk == nil || line == "" {
		return false
	}
	return slices.ContainsFunc(j.c.Walk.Steps, func(s WalkStep) bool {
		return s.Injected && strings.Contains(s.Dmesg, line) && dmesgTrouble([]byte(s.Dmesg))[reason] != ""
	})
}

// attribute names the steps that an orphan may belong to: those of its child in
// whose time it was allocated, or, where a worker allocated it, all in whose
// time it was.
func (j *judge) attribute(rec *Record) []int {
	if j.c.Walk == nil {
		return nil
	}
	var own, any []int
	for _, s := range j.c.Walk.Steps {
		if rec.Jiffies < s.Begin || rec.Jiffies > s.End {
			continue
		}
		any = append(any, s.N)
		if rec.PID == s.PID {
			own = append(own, s.N)
		}
	}
	if len(own) > 0 {
		return own
	}
	return any
}

// walkLeaks adds the new leaks to the findings, one for each step. What leaks
// because of other people's allocations is left out.
func (j *judge) walkLeaks() {
	if j.run.Walk == nil {
		return
	}
	told := map[int]bool{}
	for _, s := range j.c.Walk.Steps {
		told[s.N] = !s.Injected || j.tells(s)
	}
	j.run.Leaks = slices.DeleteFunc(j.run.Leaks, func(l Leak) bool {
		return len(l.Walk) > 0 && !slices.ContainsFunc(l.Walk, func(n int) bool { return told[n] })
	})
	for _, l := range j.run.Leaks {
		if l.Status != New {
			continue
		}
		for _, s := range j.c.Walk.Steps {
			if slices.Contains(l.Walk, s.N) && j.tells(s) {
				f := j.finding(s, "leak")
				f.Signature, f.Text = l.Signature, l.Title
				j.run.Walk.Findings = append(j.run.Walk.Findings, f)
			}
		}
	}
	slices.SortStableFunc(j.run.Walk.Findings, func(a, b Finding) int { return cmp.Compare(a.N, b.N) })
}

// faultStack is the stack of the allocation that was made to fail, as
// lib/fault-inject.c dumps it.
func (j *judge) faultStack(s WalkStep) []Frame {
	frames := faultFrames(s.Dmesg)
	rec := &Record{Frames: frames, Jiffies: s.Begin, PID: s.PID}
	return dropDump(j.sym.frames(rec))
}

// faultFrames reads the call trace below "FAULT_INJECTION: forcing a failure.".
// Frames that the unwinder doubts ("? f+0x1/0x2") are left out.
//
// Example:  should_failslab+0x9/0x20
func faultFrames(log string) []RawFrame {
	var frames []RawFrame
	const (
		search = iota
		dumped
		trace
	)
	state := search
	for raw := range strings.Lines(log) {
		text := strings.TrimRight(logText(raw), " ")
		switch {
		case strings.HasPrefix(text, "FAULT_INJECTION: forcing a failure"):
			if state == trace {
				return frames
			}
			state = dumped
		case state == dumped && strings.EqualFold(text, "call trace:"):
			state = trace
		case state == trace:
			f, ok := parseFrame(cutBuildID(strings.TrimLeft(text, " ")))
			if ok && len(frames) < maxFrames {
				frames = append(frames, f)
			} else if text == " </TASK>" || !strings.HasPrefix(text, " ") {
				return frames
			}
		}
	}
	return frames
}

// cutBuildID takes off a module's build id, which dump_stack may print.
//
// Example: foo_init+0x1c/0x40 [foo 1f2e3d4c…]
func cutBuildID(s string) string {
	at := strings.LastIndexByte(s, '[')
	if mod, _, ok := strings.Cut(s[at+1:], " "); ok && at >= 0 {
		return s[:at+1] + mod + "]"
	}
	return s
}

// dropDump leaves out the frames of the dump and of the injection itself.
func dropDump(frames []Frame) []Frame {
	for i, f := range frames {
		switch baseName(f.Function) {
		case "show_stack", "dump_stack", "dump_stack_lvl", "dump_backtrace", "__dump_stack",
			"should_fail_ex", "should_fail", "should_failslab", "__should_failslab", "should_fail_alloc_page", "__should_fail_alloc_page", "fail_dump":
		default:
			return frames[i:]
		}
	}
	return nil
}
