package reports

import (
	"slices"
	"strings"
)

// walkFindings turns the steps of a walk into its result: what killed or shook
// the guest. Leaks follow when the orphans are known (walkLeaks).
func (j *judge) walkFindings() {
	if j.c.Walk == nil {
		return
	}
	w := &WalkResult{Findings: []Finding{}}
	for _, s := range j.c.Walk.Steps {
		w.Allocations = max(w.Allocations, s.N)
		if !s.Injected {
			w.Allocations = max(0, s.N-1) // this one met no fault: there are no more
			continue
		}
		w.Failed++
		if kind, text := s.outcome(); kind != "" && (kind != "warn" || !j.p.AllowWarn) {
			w.Findings = append(w.Findings, Finding{N: s.N, Kind: kind, Stack: j.faultStack(s), Text: text})
		}
	}
	if n := len(j.c.Walk.Steps); n > 0 {
		last := j.c.Walk.Steps[n-1]
		w.Bounded = last.Injected && last.Died == ""
	}
	j.run.Walk = w
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
		return s.Died, ""
	}
	for _, reason := range []string{ReasonPanic, ReasonOops, ReasonWarn} {
		if trouble[reason] != "" {
			return reason, trouble[reason]
		}
	}
	return "", ""
}

// walkSaw tells whether a line of the kernel log belongs to a step of the walk
// and is reported with it.
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

// walkLeaks adds the new leaks to the findings, one for each step.
func (j *judge) walkLeaks() {
	if j.run.Walk == nil {
		return
	}
	for _, l := range j.run.Leaks {
		if l.Status != New {
			continue
		}
		for _, s := range j.c.Walk.Steps {
			if slices.Contains(l.Walk, s.N) {
				j.run.Walk.Findings = append(j.run.Walk.Findings, Finding{
					N: s.N, Kind: "leak", Stack: j.faultStack(s), Signature: l.Signature, Text: l.Title,
				})
			}
		}
	}
	slices.SortStableFunc(j.run.Walk.Findings, func(a, b Finding) int { return a.N - b.N })
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
