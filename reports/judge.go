package reports

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// judge is the work on one capture.
type judge struct {
	c         *Capture
	p         Policy
	run       Run
	underTest map[string]bool
	sym       *symbolizer
	src       *sources
}

// reads are the parsed texts of a capture.
type reads struct {
	before, passed, stacks, previous, last, control []Record
}

// Judge makes a verdict of what a run left behind. It fails closed: whatever
// keeps the texts from being trusted gives no verdict, and that is no pass.
func Judge(c *Capture, p Policy) Run {
	if c.Dir == "" && p.Dir != "" {
		with := *c
		with.Dir, c = p.Dir, &with
	}
	j := &judge{c: c, p: p, run: newRun(c), underTest: map[string]bool{}, src: newSources(c)}
	if c.Skipped != "" {
		j.run.Verdict, j.run.Reason = Skipped, c.Skipped
		return j.run
	}
	for _, m := range c.Modules {
		j.underTest[m.Name] = j.underTest[m.Name] || m.UnderTest
	}
	for _, l := range c.Loads {
		j.underTest[l.Module] = j.underTest[l.Module] || l.UnderTest
	}
	j.sym = newSymbolizer(c, j.src)
	j.audit()
	j.stats()
	j.verdict()
	for _, w := range j.sym.warnings {
		j.warn("%s", w)
	}
	return j.run
}

func newRun(c *Capture) Run {
	r := Run{
		Kernel: c.Kernel, Arch: c.Arch, Scenario: c.Scenario, Verdict: None,
		Clock: c.Clock, ClockNote: c.ClockNote, Boot: c.Boot, BootNote: c.BootNote,
		Timings: c.Timings, Leaks: []Leak{}, Dir: c.RunDir, Reproduce: c.Command,
		Started: c.Started, Built: c.Built,
	}
	for _, cy := range c.Cycles {
		r.Cycles = append(r.Cycles, CycleResult(cy))
	}
	r.Warnings = fallbacks(c)
	return r
}

// fallbacks say what a run had to do without, and why: its verdict counts as much,
// but it took longer, or does not repeat to the byte.
func fallbacks(c *Capture) (list []string) {
	if c.ClockNote != "" {
		list = append(list, "the clock was "+c.Clock+": "+c.ClockNote)
	}
	if c.BootNote != "" {
		list = append(list, "the guest was booted cold: "+c.BootNote)
	}
	return list
}

func (j *judge) warn(format string, args ...any) {
	j.run.Warnings = append(j.run.Warnings, fmt.Sprintf(format, args...))
}

// none ends a run without a verdict.
func (j *judge) none(reason, detail string) {
	j.run.Verdict, j.run.Reason, j.run.Detail = None, reason, detail
}

// verdict goes from what makes the texts worthless to what they say. A walk's
// findings stand by themselves: the guest that died is the finding.
func (j *judge) verdict() {
	trouble := dmesgTrouble(j.c.kernelLog())
	j.walkFindings()
	switch {
	case j.c.Reason != "":
		j.none(j.because(trouble))
	case !j.survived(trouble):
	case j.c.Walk != nil && j.c.Walk.unwalked() != "":
		j.none(ReasonIncomplete, j.c.Walk.unwalked())
	default:
		j.judgeReads(trouble)
	}
	if j.run.Walk != nil && len(j.run.Walk.Findings) > 0 {
		j.run.Verdict = Leaks
	}
}

// kernelLog is the log that the guest sent, or what it printed before it could.
func (c *Capture) kernelLog() []byte {
	if len(c.Dmesg) > 0 {
		return c.Dmesg
	}
	return c.Console
}

// consequences are the reasons (package wire has those of the guest) behind
// which an oops or a lack of memory may stand: a task that oopsed in a module's
// init is to its agent a load that hangs, one that the kernel shot a child that
// was killed. A panic stands for itself, but where it is for want of memory.
var consequences = map[string][]string{
	ReasonOops: {"load-failed", "load-hang", "unload-failed", "unload-hang", "exercise-failed", "exercise-hang",
		"unsettled", "agent-error", ReasonCanary, ReasonHang, ReasonAgentDied},
	reasonOOM: {"load-failed", "load-hang", "unload-failed", "unload-hang", "exercise-failed", "exercise-hang",
		"unsettled", "agent-error", ReasonCanary, ReasonHang, ReasonAgentDied, ReasonPanic},
}

// because tells why host and guest gave up: the reason that they saw, or what
// the kernel log has behind it.
func (j *judge) because(trouble map[string]string) (reason, detail string) {
	reason, detail = j.c.Reason, cmp.Or(j.c.Detail, trouble[j.c.Reason])
	for _, cause := range []string{ReasonOops, reasonOOM} {
		line := trouble[cause]
		if line != "" && slices.Contains(consequences[cause], reason) && !j.walkSaw(cause, line) {
			return cause, fmt.Sprintf("%s; then %s: %s", line, reason, detail)
		}
	}
	line := trouble[ReasonDetectorDied]
	switch {
	case reason != reasonDetectorOff || line == "":
	case strings.Contains(line, "detector disabled"): // by the command line, or by "off"
		detail += ": " + line
	default: // it says what made it give up, before it says that it is disabled
		return ReasonDetectorDied, fmt.Sprintf("%s; then %s: %s", line, reason, detail)
	}
	return reason, detail
}

// survived checks the kernel log for what no verdict can be built on.
func (j *judge) survived(trouble map[string]string) bool {
	for _, reason := range []string{ReasonDetectorDied, ReasonPanic, ReasonOops, reasonOOM} {
		if line := trouble[reason]; line != "" && !j.walkSaw(reason, line) {
			j.none(reason, line)
			return false
		}
	}
	if line := trouble[ReasonLogLost]; line != "" {
		j.none(ReasonLogLost, line+": what the kernel complained of may have been there")
		return false
	}
	return true
}

func (j *judge) judgeReads(trouble map[string]string) {
	r, err := j.parse()
	if err != nil {
		j.none(ReasonParse, err.Error())
		return
	}
	if !j.settled(r) {
		return
	}
	want, err := expectedCanary(j.c)
	if err != nil {
		j.run.Canary.Expected = canaryTotal(j.c)
		j.none(ReasonCanary, err.Error())
		return
	}
	found, missing := countCanary(want, j.c, r.last)
	j.run.Canary = CanaryResult{Expected: len(want), Found: found}
	if len(missing) > 0 {
		j.none(ReasonCanary, fmt.Sprintf("%d of %d objects that kmemleak-test leaked are in the read that decides; 0x%x is not: kmemleak is blind", found, len(want), missing[0]))
		return
	}
	j.findLeaks(r)
	j.conclude(trouble)
}

// settled wants the same objects in the last two reads, whatever the agent made
// of them.
func (j *judge) settled(r reads) bool {
	previous, last := identities(r.previous), identities(r.last)
	if !maps.Equal(previous, last) {
		j.none(reasonUnsettled, fmt.Sprintf("the last two reads differ: %d and %d objects, and not the same ones", len(previous), len(last)))
		return false
	}
	if j.c.Stacks != nil {
		j.warn("the task stacks hid the canary and were left out of the scans that decide: what only a stack may hold counts as transient")
	}
	return true
}

// parse reads all texts of kmemleak, each of which must be whole.
func (j *judge) parse() (reads, error) {
	var r reads
	for _, t := range []struct {
		name string
		text []byte
		into *[]Record
	}{
		{"before.txt", j.c.Before, &r.before}, {"passed.txt", j.c.Passed, &r.passed},
		{"stacks.txt", j.c.Stacks, &r.stacks}, {"previous.txt", j.c.Previous, &r.previous},
		{"kmemleak.txt", j.c.Last, &r.last}, {"control.txt", j.c.Control, &r.control},
	} {
		var err error
		if *t.into, err = parseAll(bytes.NewReader(t.text), t.name, FormatFile); err != nil {
			return r, err
		}
	}
	return r, nil
}

// conclude turns leaks into the verdict. A warning of the kernel takes the
// verdict from a run without leaks only: orphans that were in both reads beside
// a whole canary are leaks all the same.
func (j *judge) conclude(trouble map[string]string) {
	warned := trouble[ReasonWarn]
	if j.walkSaw(ReasonWarn, warned) {
		warned = ""
	}
	switch {
	case j.failing():
		j.run.Verdict = Leaks
	case warned != "" && !j.p.AllowWarn:
		j.none(ReasonWarn, warned)
		return
	case j.p.RequireProbe && j.run.Stats.Devices == 0:
		j.none(ReasonNothingProbed, "no driver of the modules under test bound a device")
	default:
		j.run.Verdict = Clean
	}
	if warned != "" {
		j.warn("the kernel warned: %s", warned)
	}
	j.workWarnings()
}

func (j *judge) failing() bool {
	return slices.ContainsFunc(j.run.Leaks, func(l Leak) bool {
		return l.Status == New || j.p.FailOn == "any" && (l.Status == Known || l.Status == Suppressed)
	})
}

// findLeaks sorts the orphans of the last two reads into leaks.
func (j *judge) findLeaks(r reads) {
	orphans := j.orphans(r)
	j.markNoise(orphans, r.control, r.before)
	adopt(lasting(orphans), j.c.Memory)
	j.run.Leaks = j.group(orphans)
	j.p.Baseline.apply(j.run.Leaks)
	warnings, used := suppress(j.run.Leaks, j.p.Suppress, j.p.Now)
	j.run.Warnings = append(j.run.Warnings, warnings...)
	j.run.UsedSuppressions, j.run.UnusedSuppressions = splitSuppressions(j.p.Suppress, used)
	j.walkLeaks()
	slices.SortStableFunc(j.run.Leaks, func(a, b Leak) int {
		return cmp.Or(statusRank(a.Status)-statusRank(b.Status), cmp.Compare(b.Bytes, a.Bytes), strings.Compare(a.Signature, b.Signature))
	})
}

func statusRank(s Status) int {
	return slices.Index([]Status{New, Known, Suppressed, Transient, Noise}, s)
}

// identity is what an object is known by in several reads: an address is used
// again, but not in the same jiffy for an object of the same size.
type identity struct {
	address, jiffies uint64
	size             int64
}

func (r *Record) identity() identity { return identity{r.Address, r.Jiffies, r.Size} }

func identities(records []Record) map[identity]bool {
	out := make(map[identity]bool, len(records))
	for i := range records {
		out[records[i].identity()] = true
	}
	return out
}

// orphans returns what is in the last two reads, was not there before and is
// not the canary's: in the order of the last read, then what only earlier reads
// had. Where the task stacks were left out, what the last read with them lacks
// is transient.
func (j *judge) orphans(r reads) []*orphan {
	before, last := identities(r.before), identities(r.last)
	stays := last
	if j.c.Stacks != nil {
		stays = identities(r.stacks)
	}
	var out []*orphan
	add := func(records []Record, skip, stays map[identity]bool) {
		for i := range records {
			rec := &records[i]
			id := rec.identity()
			if before[id] || skip[id] || j.c.Canary.isCanary(rec) {
				continue
			}
			o := j.orphan(rec, j.sym)
			o.transient, o.order = !stays[id], len(out)
			out = append(out, o)
		}
	}
	add(r.last, nil, stays)
	add(r.passed, last, nil)
	return out
}

func (j *judge) orphan(rec *Record, sym *symbolizer) *orphan {
	o := &orphan{rec: rec, frames: sym.frames(rec), walk: j.attribute(rec)}
	o.blamed = blame(o.frames, j.underTest)
	o.signature = signatureOf(o.blamed)
	return o
}

func lasting(orphans []*orphan) []*orphan {
	return slices.DeleteFunc(slices.Clone(orphans), func(o *orphan) bool { return o.transient || o.noise })
}

// markNoise charges the module with nothing that the control run, the same
// steps without the module, reports at least as often under the same signature.
// What exceeds the control's count is a leak, all of it: which of the objects
// are noise cannot be told.
func (j *judge) markNoise(orphans []*orphan, control, before []Record) {
	noise := j.noise(control, before)
	count := map[string]int{}
	for _, o := range orphans {
		if !o.transient {
			count[o.signature]++
		}
	}
	for _, o := range orphans {
		o.noise = !o.transient && noise[o.signature] > 0 && count[o.signature] <= noise[o.signature]
	}
}

// noise counts the control run's orphans by signature, without those of the
// boot. A clone of the same template has the very same objects from its boot;
// after a boot of its own they lie elsewhere, and only their number can be
// taken off. Nothing was loaded there: what a script's module had in the control
// run lies where the run has the module under test.
func (j *judge) noise(control, before []Record) map[string]int {
	atBoot, inControl := identities(before), identities(control)
	noise, sym := map[string]int{}, j.sym.withoutLoads()
	for i := range control {
		if rec := &control[i]; !atBoot[rec.identity()] && !j.c.Canary.isCanary(rec) {
			noise[j.orphan(rec, sym).signature]++
		}
	}
	if j.c.Boot == "clone" {
		return noise
	}
	for i := range before {
		if rec := &before[i]; !inControl[rec.identity()] {
			noise[j.orphan(rec, sym).signature]--
		}
	}
	return noise
}
