package reports

import (
	"strings"
)

// dmesgRule names the lines of a kernel log that make a run worthless.
type dmesgRule struct {
	reason string
	prefix string // what the line begins with, marks of the log apart …
	within string // … and what it has somewhere …
	but    string // … but not this, unless empty
	why    string // where the kernel says so
}

// dmesgRules are in order of weight: the first rule that any line meets is the
// run's reason, a line in front of it notwithstanding.
var dmesgRules = []dmesgRule{
	{ReasonDetectorDied, "kmemleak: ", "emory leak detector disabled", "", "mm/kmemleak.c, kmemleak_do_cleanup and kmemleak_disable"},
	{ReasonDetectorDied, "kmemleak: ", "Kmemleak disabled without freeing internal data", "", "mm/kmemleak.c, kmemleak_do_cleanup"},
	{ReasonDetectorDied, "kmemleak: ", "Cannot allocate a kmemleak_object structure", "", "mm/kmemleak.c: the detector turns itself off"},
	{ReasonDetectorDied, "kmemleak: ", "Memory pool empty", "", "mm/kmemleak.c, mem_pool_alloc: objects go untracked"},
	{ReasonDetectorDied, "kmemleak: ", "(overlaps existing)", "", "mm/kmemleak.c, kmemleak_stop"},
	{ReasonDetectorDied, "kmemleak: ", "Early log buffer exceeded", "", "mm/kmemleak.c up to 5.3"},
	{ReasonPanic, "Kernel panic - not syncing", "", "", "kernel/panic.c"},
	{ReasonOops, "BUG: ", "", "", "arch/*/mm/fault.c, mm/kasan/report.c, kernel/sched/core.c"},
	{ReasonOops, "watchdog: BUG: ", "", "", "kernel/watchdog.c"},
	{ReasonOops, "BUG ", "ainted", "Objects remaining in ", "mm/slub.c, slab_bug, under slab_debug=: a double free, a broken free list"},
	{ReasonOops, "kernel BUG at ", "", "", "lib/bug.c"},
	{ReasonOops, "Oops: ", "", "", "arch/x86/kernel/dumpstack.c"},
	{ReasonOops, "Oops - ", "", "", "arch/arm64/kernel/traps.c"},
	{ReasonOops, "Internal error: ", "", "", "arch/arm64/kernel/traps.c, die"},
	{ReasonOops, "Unable to handle kernel ", "", "", "arch/arm64/mm/fault.c"},
	{ReasonOops, "general protection fault", "", "", "arch/x86/kernel/traps.c"},
	{ReasonOops, "invalid opcode: ", "", "", "arch/x86/kernel/traps.c"},
	{ReasonOops, "divide error: ", "", "", "arch/x86/kernel/traps.c"},
	{ReasonOops, "stack segment: ", "", "", "arch/x86/kernel/traps.c"},
	{ReasonOops, "UBSAN: ", "", "", "lib/ubsan.c"},
	{reasonOOM, "Out of memory: ", "", "", "mm/oom_kill.c"},
	{reasonOOM, "", " invoked oom-killer: ", "", "mm/oom_kill.c"},
	{ReasonLogLost, "kmemgate: ", " kernel messages were lost here", "", "package agent, kernelLog: the ring was too small"},
	{ReasonLogLost, "kmemgate: ", "the log is cut here, at ", "", "package agent, kernelLog"},
	{ReasonWarn, "BUG ", "Objects remaining in ", "", "mm/slub.c: a cache destroyed with objects in it, which are leaks and no fault of the kernel's"},
	{ReasonWarn, "WARNING: ", "", "", "kernel/panic.c, __warn; kernel/locking/lockdep.c"},
	{ReasonWarn, "------------[ cut here ]", "", "", "include/asm-generic/bug.h"},
	{ReasonWarn, "INFO: task ", " blocked for more than ", "", "kernel/hung_task.c"},
	{ReasonWarn, "rcu: INFO: ", "stall", "", "kernel/rcu/tree_stall.h"},
	{ReasonWarn, "INFO: possible ", "", "", "kernel/locking/lockdep.c"},
}

// The guest's own words (wire.ReasonOutOfMemory and so on; this package imports
// nothing of ours).
const (
	reasonOOM         = "out-of-memory"
	reasonDetectorOff = "detector-off"
	reasonUnsettled   = "unsettled"
)

func (r dmesgRule) meets(text string) bool {
	return strings.HasPrefix(text, r.prefix) && strings.Contains(text, r.within) &&
		(r.but == "" || !strings.Contains(text, r.but))
}

// Oopsed tells whether a kernel log holds what the kernel says of its own faults.
func Oopsed(log []byte) bool { return dmesgTrouble(log)[ReasonOops] != "" }

// dmesgTrouble returns the first line for each reason that a log gives.
func dmesgTrouble(log []byte) map[string]string {
	found := map[string]string{}
	for raw := range strings.Lines(string(log)) {
		text := logText(raw)
		for _, r := range dmesgRules {
			if found[r.reason] == "" && r.meets(text) {
				found[r.reason] = text
			}
		}
	}
	if line := found[ReasonWarn]; strings.HasPrefix(line, "------------[ cut here ]") {
		found[ReasonWarn] = lineAfter(log, line)
	}
	return found
}

// lineAfter returns the line that follows the first one of this text: what
// stands below "cut here" tells more than it does.
func lineAfter(log []byte, text string) string {
	hit := false
	for raw := range strings.Lines(string(log)) {
		if hit {
			return logText(raw)
		}
		hit = logText(raw) == text
	}
	return text
}

// logText is a line of a log without its marks; "kmemleak: " stays.
func logText(raw string) string {
	raw = strings.TrimRight(raw, "\r\n")
	l := unlog(raw)
	if l.prefix {
		return "kmemleak: " + l.text
	}
	return l.text
}
