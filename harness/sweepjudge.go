package harness

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/kmemgate/kmemgate/initramfs"
	"github.com/kmemgate/kmemgate/initramfs/wire"
	"github.com/kmemgate/kmemgate/reports"
)

// reading is what the guest of a group tells of its turns.
type reading struct {
	// runs are the judgements of the turns; only where whole is nil.
	runs []reports.Run
	// whole is what cannot be divided among the turns; nil where all can.
	whole *reports.Run
	// suspect is the turn that is likely to be behind it; -1: none.
	suspect int
}

func (r reading) words(g *groupRun) string {
	if r.whole == nil {
		leaks := 0
		for _, run := range r.runs {
			if run.Verdict == reports.Leaks {
				leaks++
			}
		}
		return fmt.Sprintf("%d leak", leaks)
	}
	if r.suspect >= 0 {
		return runWords(*r.whole) + ": again without " + g.turns[r.suspect].name()
	}
	return runWords(*r.whole) + ": again in halves"
}

// read divides a group's capture among its turns. Each turn is judged by
// what was allocated, and what the kernel said, in its time, beside the canary
// and all that came before.
func (k *sweptKernel) read(g *groupRun) (reading, error) {
	p := divide(g)
	if g.capture.Reason != "" {
		return k.undivided(g, k.judge(g, p, everything), unfinished(g)), nil
	}
	if common := k.judge(g, p, -1); common.Verdict != reports.Clean {
		return k.undivided(g, common, -1), nil
	}
	var r reading
	for i, t := range g.turns {
		run := k.judge(g, p, i)
		if abroad := foreign(run, t); run.Reason == reports.ReasonOops || len(abroad) > 0 {
			run.Leaks = abroad // after an oops nothing counts; a leak without the module's code may be another's
			return k.undivided(g, run, i), nil
		}
		if errno := p.refused(i); errno != "" && run.Verdict == reports.Clean {
			run = refusedRun(run, errno, p.words(i))
		}
		run, err := k.finish(g, p, i, run)
		if err != nil {
			return r, err
		}
		r.runs = append(r.runs, run)
	}
	return r, nil
}

// undivided is for a group of which something belongs to no turn, or to a turn
// that has spoiled the others.
func (k *sweptKernel) undivided(g *groupRun, whole reports.Run, suspect int) reading {
	whole.Scenario, whole.Dir, whole.Reproduce = g.name, g.capture.RunDir, k.reproduce(g.turns...)
	return reading{whole: &whole, suspect: suspect}
}

// judgeAlone judges a turn that had a guest of its own: all that showed is its.
func (k *sweptKernel) judgeAlone(g *groupRun) (reports.Run, error) {
	p := divide(g)
	run := k.judge(g, p, everything)
	if errno := p.refused(0); errno != "" && run.Verdict == reports.Clean {
		run = refusedRun(run, errno, p.words(0))
	}
	return k.finish(g, p, 0, run)
}

// everything stands for all turns of a group.
const everything = -2

// judge judges one turn of a group: -1 is what is no turn's.
func (k *sweptKernel) judge(g *groupRun, p parts, i int) reports.Run {
	return reports.Judge(k.sub(g, p, i), k.Gate.policy(k.Scenario, k.Gate.Baseline, g.capture.Kernel, g.dir))
}

// sub is the part of a group's capture that belongs to one turn.
func (k *sweptKernel) sub(g *groupRun, p parts, i int) *reports.Capture {
	c := *g.capture
	c.Command = k.reproduce(g.turns...)
	c.Timings = map[string]float64{"total": g.seconds * p.share(i)}
	if i == everything {
		if len(g.turns) == 1 {
			c.Tracked, c.Built = p.tracked[0], g.built[0]
		}
		return &c
	}
	c.Last, c.Previous, c.Passed = p.last.of(i), p.previous.of(i), p.passed.of(i)
	c.Dmesg, c.Loads = p.dmesgOf(i), p.loadsOf(i)
	c.Modules = nil
	if i >= 0 {
		t := g.turns[i]
		c.Scenario, c.SourceDir, c.Modules, c.Command = t.name(), t.source, cachedModules(t), k.reproduce(t)
		c.Tracked, c.Built = p.tracked[i], g.built[i]
	}
	return &c
}

// cachedModules are a turn's modules where they lie in the cache.
func cachedModules(t turn) []reports.Module {
	var list []reports.Module
	for _, m := range t.modules() {
		path, err := filepath.Abs(m.Path)
		if err != nil {
			path = m.Path
		}
		list = append(list, reports.Module{Name: m.Name, Path: path, UnderTest: m.Name == t.name()})
	}
	return list
}

// reproduce is the command line that sweeps these modules again, in one guest.
func (k *sweptKernel) reproduce(turns ...turn) string {
	args := []string{"kmemgate", "sweep", "--kernel", shellQuote(k.cell.source), "--arch", k.cell.arch}
	if k.Scenario.Clock == ClockReal {
		args = append(args, "--clock", ClockReal)
	}
	for _, f := range k.Gate.Flags {
		args = append(args, shellQuote(f))
	}
	for _, dir := range k.Extra {
		args = append(args, "--extra", shellQuote(seenFromHere(dir)))
	}
	if len(turns) > 1 { // many guests at once would each take a part of them
		args = append(args, "--jobs", "1", "--group", strconv.Itoa(len(turns)))
	}
	return strings.Join(append(args, turnNames(turns)...), " ")
}

// finish leaves the evidence of a run that somebody will want to read in a
// folder of its own, with the modules; of the others the group's does.
func (k *sweptKernel) finish(g *groupRun, p parts, i int, run reports.Run) (reports.Run, error) {
	run.Dir = g.capture.RunDir
	if run.Verdict == reports.Clean || run.Verdict == reports.Skipped {
		return run, nil
	}
	t, c := g.turns[i], *k.sub(g, p, i)
	if len(g.turns) == 1 {
		c = *k.sub(g, p, everything)
	}
	c.Dir = k.folder(t.name())
	if c.Dir != g.dir {
		if err := emptyFolder(c.Dir); err != nil {
			return run, err
		}
	}
	own := k.turnCell(t)
	if err := own.keepInputs(c.Dir, guestJob{}); err != nil {
		return run, err
	}
	c.Modules = own.capturedModules()
	var err error
	if c.RunDir, err = filepath.Rel(k.Gate.Out, c.Dir); err != nil {
		return run, fmt.Errorf("run folder: %w", err)
	}
	run.Dir = c.RunDir
	return run, reports.WriteCapture(c.Dir, &c)
}

// foreign are the new leaks of a run without a frame of the turn's modules:
// allocated in the turn's time, by somebody.
func foreign(run reports.Run, t turn) []reports.Leak {
	own := map[string]bool{}
	for _, m := range t.modules() {
		own[m.Name] = true
	}
	return slices.DeleteFunc(slices.Clone(run.Leaks), func(l reports.Leak) bool {
		return l.Status != reports.New || slices.ContainsFunc(l.Frames, func(f reports.Frame) bool { return own[f.Module] })
	})
}

// inapplicable are the errors by which a module says that what it is for is not
// there. Every other one is a failure of the load, of which nobody knows what
// it kept from being tested: a module that always refuses so has its place in
// a skip list, with the reason.
var inapplicable = map[string]bool{
	"ENODEV":     true, // no such device
	"ENXIO":      true, // no such device or address: a bus without it
	"EOPNOTSUPP": true, // the processor, or another module, lacks a feature
	"EAGAIN":     true, // a test that is done and does not want to stay (lib/test_*.c, crypto/tcrypt.c)
}

// refusedRun is for a module that did not want to load: it looks for hardware,
// or for a firmware, that is not there.
func refusedRun(run reports.Run, errno, words string) reports.Run {
	run.Warnings = nil
	missing := strings.Contains(words, "Unknown symbol") // a failure, with whatever error
	firmware := errno == "ENOENT" && strings.Contains(strings.ToLower(words), "firmware")
	if !missing && (inapplicable[errno] || firmware) {
		run.Verdict, run.Reason = reports.Skipped, strings.TrimSuffix("not applicable: its load was refused with "+errno+": "+words, ": ")
		return run
	}
	run.Verdict, run.Reason = reports.None, wire.ReasonLoadFailed
	run.Detail = strings.TrimSuffix(errno+": "+words, ": ") + " (if it is no fault, leave it out: --skip FILE, with the reason)"
	return run
}

// turnMark is what the agent writes into the kernel's log around each turn.
//
// Example: [   12.345678] kmemgate: turn of dummy ends, 7 objects tracked
var turnMark = regexp.MustCompile(`(?m)^.*kmemgate: turn of ([A-Za-z0-9_]+) (begins|ends)(?:, (\d+) objects tracked)?\r?$`)

// unfinished is the turn that began and did not end; -1: none.
func unfinished(g *groupRun) int {
	log := g.capture.Dmesg
	if len(log) == 0 {
		log = g.capture.Console
	}
	marks := turnMark.FindAllSubmatch(log, -1)
	if len(marks) == 0 || string(marks[len(marks)-1][2]) != "begins" {
		return -1
	}
	name := string(marks[len(marks)-1][1])
	return slices.IndexFunc(g.turns, func(t turn) bool { return t.name() == name })
}

// parts are a group's texts, cut by turns.
type parts struct {
	capture        *reports.Capture
	loads          [][]reports.Load // by turn
	before         []reports.Load   // the canary's
	last, previous cut
	passed         cut
	dmesg          [][]byte  // by turn
	rest           [2][]byte // of dmesg, before the turns and after them
	tracked        []*int    // objects that the turns' modules allocated, where they were counted
	took           []float64 // guest seconds, by turn; 0 where its marks are not there
	common         float64   // guest seconds after the turns
}

// share is a turn's part of what its group's guest took: its own time, and
// as much as every other one of what they share, the clone and the scans.
func (p *parts) share(i int) float64 {
	if i < 0 {
		return 1
	}
	n, total := float64(len(p.took)), p.common
	for _, s := range p.took {
		total += s
	}
	if total <= 0 || slices.Contains(p.took, 0) {
		return 1 / n
	}
	return (p.took[i] + p.common/n) / total
}

// divide cuts a capture by its turns.
func divide(g *groupRun) parts {
	p := parts{capture: g.capture}
	p.divideLoads(g.turns)
	begins := p.begins()
	p.last, p.previous, p.passed = cutRecords(g.capture.Last, begins), cutRecords(g.capture.Previous, begins), cutRecords(g.capture.Passed, begins)
	p.divideLog(g.turns)
	return p
}

// divideLoads hands out the loads, which are in the order of the turns; a
// refused one ends its turn.
func (p *parts) divideLoads(turns []turn) {
	loads := p.capture.Loads
	for len(loads) > 0 && loads[0].Canary {
		p.before, loads = append(p.before, loads[0]), loads[1:]
	}
	p.loads = make([][]reports.Load, len(turns))
	for i, t := range turns {
		for _, m := range t.modules() {
			if len(loads) == 0 || loads[0].Module != m.Name {
				break
			}
			p.loads[i] = append(p.loads[i], loads[0])
			refused := loads[0].Errno != ""
			loads = loads[1:]
			if refused {
				break
			}
		}
	}
}

// begins are the jiffies at which the turns begin. A turn lasts until the next:
// what a module's exit has deferred runs in its own time.
func (p *parts) begins() []uint64 {
	var at []uint64
	for _, loads := range p.loads {
		if len(loads) > 0 {
			at = append(at, loads[0].Begin)
		} else {
			at = append(at, ^uint64(0))
		}
	}
	return at
}

func (p *parts) loadsOf(i int) []reports.Load {
	if i < 0 {
		return p.before
	}
	return slices.Concat(p.before, p.loads[i])
}

// refused is the error of a turn whose load was refused.
func (p *parts) refused(i int) string {
	if n := len(p.loads[i]); n > 0 {
		return p.loads[i][n-1].Errno
	}
	return ""
}

// cut is a read of kmemleak, cut by turns.
type cut struct {
	whole  []byte // where it cannot be cut: judging it tells why
	before []byte // allocated before the first turn
	turns  [][]byte
}

func cutRecords(text []byte, begins []uint64) cut {
	c := cut{turns: make([][]byte, len(begins)), before: []byte{}}
	for rec, err := range reports.Records(bytes.NewReader(text), "kmemleak", reports.FormatFile) {
		if err != nil {
			return cut{whole: text}
		}
		into := &c.before
		for i, at := range begins {
			if rec.Jiffies >= at {
				into = &c.turns[i]
			}
		}
		*into = append(*into, rec.Raw...)
	}
	return c
}

func (c cut) of(i int) []byte {
	switch {
	case c.whole != nil:
		return c.whole
	case i < 0:
		return c.before
	}
	return slices.Concat(c.before, c.turns[i])
}

// divideLog cuts the kernel's log at the marks: a turn has the lines from its
// beginning to the next one's. What follows the last turn is nobody's.
func (p *parts) divideLog(turns []turn) {
	log := p.capture.Dmesg
	p.dmesg, p.tracked, p.took = make([][]byte, len(turns)), make([]*int, len(turns)), make([]float64, len(turns))
	p.rest[0] = log
	marks := turnMark.FindAllSubmatchIndex(log, -1)
	at := 0
	for n, m := range marks {
		if string(log[m[4]:m[5]]) != "begins" || at >= len(turns) || string(log[m[2]:m[3]]) != turns[at].name() {
			continue
		}
		if at == 0 {
			p.rest[0] = log[:m[0]]
		}
		end := len(log)
		for _, later := range marks[n+1:] {
			end = later[0]
			if string(log[later[4]:later[5]]) == "begins" {
				break
			}
			end = later[1]
			if count, err := strconv.Atoi(group(log, later, 3)); err == nil {
				p.tracked[at] = &count
			}
		}
		if end < len(log) && log[end] == '\n' {
			end++
		}
		p.dmesg[at], p.rest[1] = log[m[0]:end], log[end:]
		p.took[at] = lastStamp(p.dmesg[at]) - stamp(p.dmesg[at])
		at++
	}
	if at == len(turns) && at > 0 {
		p.common = max(0, lastStamp(log)-lastStamp(p.dmesg[at-1]))
	}
}

// stamp is the time of a kernel log's first line, in seconds; 0: it has none.
//
// Example: [   12.345678] kmemgate: turn of dummy begins
func stamp(log []byte) float64 {
	line, _, _ := bytes.Cut(log, []byte("\n"))
	text, _, _ := bytes.Cut(bytes.TrimPrefix(bytes.TrimSpace(line), []byte("[")), []byte("]"))
	seconds, err := strconv.ParseFloat(string(bytes.TrimSpace(text)), 64)
	if err != nil || seconds < 0 {
		return 0
	}
	return seconds
}

// lastStamp is that of its last line.
func lastStamp(log []byte) float64 {
	log = bytes.TrimSpace(log)
	return stamp(log[bytes.LastIndexByte(log, '\n')+1:])
}

// group is the n-th group of a match; empty where it has no part in it.
func group(text []byte, match []int, n int) string {
	if match[2*n] < 0 {
		return ""
	}
	return string(text[match[2*n]:match[2*n+1]])
}

func (p *parts) dmesgOf(i int) []byte {
	if i < 0 {
		return slices.Concat(p.rest[0], p.rest[1])
	}
	return slices.Concat(p.rest[0], p.dmesg[i], p.rest[1])
}

// ownWords matches what the agent and the module loader write around a load.
var ownWords = regexp.MustCompile(`kmemgate: |taints kernel|[Ff]inal section addresses|\t0x[0-9a-f]+ |\\x090x`)

// words are the kernel's last lines in a turn: why a load was refused.
func (p *parts) words(i int) string {
	var said []string
	for line := range strings.Lines(string(p.dmesg[i])) {
		if line = strings.TrimSpace(line); line == "" || ownWords.MatchString(line) {
			continue
		}
		if _, text, ok := strings.Cut(line, "] "); ok {
			line = text
		}
		said = append(said, line)
	}
	return printable(strings.Join(said[max(0, len(said)-3):], "; "))
}

// readFileFor reads a module's file for a job.
func readFileFor(module, path string) (initramfs.File, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return initramfs.File{}, hostError("", "module %s: %w", module, err)
	}
	return initramfs.File{Mode: 0o644, Content: content}, nil
}
