package reports

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// canaryBase is where the made-up canary's objects lie, 0x10000 apart.
const canaryBase = 0xffff888004000000

// canaryCapture is a run of 6.12 with a whole canary and nothing else.
func canaryCapture() *Capture {
	c := &Capture{
		Kernel: "6.12.117", Arch: "x86_64", Scenario: "test", HZ: 250,
		Modules: []Module{{Name: "foo", UnderTest: true}},
		Loads:   []Load{{Module: "foo", UnderTest: true, PID: 90, Begin: 2000, End: 2100}},
		Canary:  Canary{PID: 60, Begin: 1000, End: 1100},
		Before:  []byte{}, Control: []byte{},
	}
	var log, text strings.Builder
	log.WriteString("[    1.0] kmemleak: Kmemleak testing\n")
	n := 0
	for _, p := range canaryParts {
		for range p.count {
			addr := uint64(canaryBase) + uint64(0x10000*n)
			fmt.Fprintf(&log, "[    1.0] kmemleak: %s = %016x\n", p.text, addr)
			c.Canary.Addresses = append(c.Canary.Addresses, addr)
			text.WriteString(object(addr, 32, 60, 1050, "kmemleak_test_init+0x1/0x2 [kmemleak_test]"))
			n++
		}
	}
	c.Dmesg, c.Last, c.Previous = []byte(log.String()), []byte(text.String()), []byte(text.String())
	return c
}

// object is the text of a record, with frames below it.
func object(addr uint64, size, pid, jiffies int, frames ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "unreferenced object 0x%08x (size %d):\n  comm \"insmod\", pid %d, jiffies %d\n  backtrace (crc 0):\n", addr, size, pid, jiffies)
	for _, f := range frames {
		fmt.Fprintf(&b, "    %s\n", f)
	}
	return b.String()
}

// leak adds objects to the last two reads.
func (c *Capture) leak(text ...string) {
	for _, t := range text {
		c.Last = append(c.Last, t...)
		c.Previous = append(c.Previous, t...)
	}
}

const fooAddr = 0xffff888005000000

func fooLeak(n int) string {
	return object(uint64(fooAddr)+uint64(n*0x1000), 64, 90, 2050, "__kmalloc_cache_noprof+0x1/0x2", "foo_probe+0x3/0x40 [foo]", "foo_init+0x1/0x2 [foo]", "do_one_initcall+0x1/0x2")
}

func TestJudgeClean(t *testing.T) {
	run := Judge(canaryCapture(), Policy{})
	assert.Equal(t, Clean, run.Verdict, run.Detail)
	assert.Equal(t, CanaryResult{Expected: 25, Found: 25}, run.Canary)
	assert.Empty(t, run.Leaks)
	assert.NotNil(t, run.Leaks, "report.json has [], not null")
	assert.Equal(t, 1, run.Stats.Loads)
}

func TestJudgeLeak(t *testing.T) {
	c := canaryCapture()
	c.leak(fooLeak(0), fooLeak(1), fooLeak(2))
	run := Judge(c, Policy{})
	assert.Equal(t, Leaks, run.Verdict, run.Detail)
	require.Len(t, run.Leaks, 1)
	l := run.Leaks[0]
	assert.Equal(t, "memory leak in foo_probe", l.Title)
	assert.Equal(t, New, l.Status)
	assert.Equal(t, "foo", l.Module)
	assert.Equal(t, 3, l.Count)
	assert.Equal(t, int64(192), l.Bytes)
	assert.Equal(t, int64(64), l.Size)
	assert.Equal(t, 0, l.Children)
	assert.Len(t, l.Frames, 4)
	assert.Equal(t, fooLeak(0), l.Records[0])
	assert.Len(t, l.Signature, 12)
}

func TestJudgeSortsOrphans(t *testing.T) {
	boot := object(0xffff888001000000, 128, 1, 500, "early_thing+0x1/0x2")
	noise := object(0xffff888006000000, 16, 5, 2040, "kmalloc_trace+0x1/0x2", "some_worker+0x1/0x2", "process_one_work+0x1/0x2")
	gone := object(0xffff888007000000, 8, 90, 2060, "foo_late+0x1/0x2 [foo]")
	c := canaryCapture()
	c.Before = []byte(boot)
	c.leak(boot, noise)
	c.Control = []byte(strings.Replace(boot+noise, "6000000", "6100000", 1))
	c.Passed = []byte(gone + noise) // seen earlier too
	run := Judge(c, Policy{})
	assert.Equal(t, Clean, run.Verdict, run.Detail)
	var got []string
	for _, l := range run.Leaks {
		got = append(got, string(l.Status)+": "+l.Function)
	}
	assert.Equal(t, []string{"transient: foo_late", "noise: some_worker"}, got)

	again := object(0xffff888006200000, 16, 5, 2045, "kmalloc_trace+0x1/0x2", "some_worker+0x1/0x2", "process_one_work+0x1/0x2")
	c.leak(again)
	run = Judge(c, Policy{})
	assert.Equal(t, Leaks, run.Verdict, "more than the control run has")
}

func TestJudgeFailsClosed(t *testing.T) {
	for _, tc := range []struct {
		name   string
		spoil  func(*Capture)
		reason string
		detail string
	}{
		{"the host knows why", func(c *Capture) { c.Reason, c.Detail = ReasonHang, "60 s" }, ReasonHang, "60 s"},
		{"empty reads", func(c *Capture) { c.Last, c.Previous = nil, nil }, ReasonCanary, "0 of 25 objects"},
		{"one canary object missing", func(c *Capture) {
			c.Last = c.Last[strings.Index(string(c.Last[1:]), "unref")+1:]
			c.Previous = c.Last
		}, ReasonCanary, "24 of 25 objects"},
		{"no read before the last", func(c *Capture) { c.leak(fooLeak(0)); c.Previous = nil }, "unsettled", "differ: 0 and 26 objects"},
		{"a leak in the last read alone", func(c *Capture) { c.Last = append(c.Last, fooLeak(0)...) }, "unsettled", "differ: 25 and 26"},
		{"a leak in the read before alone", func(c *Capture) { c.Previous = append(c.Previous, fooLeak(0)...) }, "unsettled", "differ: 26 and 25"},
		{"another object in one read", func(c *Capture) {
			c.Last, c.Previous = append(c.Last, fooLeak(0)...), append(c.Previous, fooLeak(1)...)
		}, "unsettled", "not the same ones"},
		{"a log with a gap", func(c *Capture) { c.Dmesg = append(c.Dmesg, "kmemgate: 7 kernel messages were lost here\n"...) }, ReasonLogLost, "7 kernel messages were lost"},
		{"a log that is cut", func(c *Capture) { c.Dmesg = append(c.Dmesg, "kmemgate: the log is cut here, at 16777216 bytes\n"...) }, ReasonLogLost, "16777216"},
		{"no canary in dmesg", func(c *Capture) { c.Dmesg = nil }, ReasonCanary, "holds no address"},
		{"a cut dmesg", func(c *Capture) { c.Dmesg = c.Dmesg[:len(c.Dmesg)/2] }, ReasonCanary, "cut, or its pointers are hashed?"},
		{"an address that dmesg lacks", func(c *Capture) { c.Canary.Addresses = append(c.Canary.Addresses, 1) }, ReasonCanary, "printed an object 0x1 while it ran"},
		{"an address that dmesg made up", func(c *Capture) { c.Canary.Addresses = c.Canary.Addresses[1:] }, ReasonCanary, "that it did not print while it ran"},
		{"a canary that said nothing", func(c *Capture) { c.Canary.Addresses = nil }, ReasonCanary, "did not print while it ran"},
		{"the canary of another pid", func(c *Capture) { c.Canary.PID = 61 }, ReasonCanary, "0 of 25"},
		{"the canary of another time", func(c *Capture) { c.Canary.End = 1040 }, ReasonCanary, "0 of 25"},
		{"a broken read", func(c *Capture) { c.Last = append(c.Last, "unref"...) }, ReasonParse, "kmemleak.txt:"},
		{"a broken control", func(c *Capture) { c.Control = []byte("x\n") }, ReasonParse, "control.txt:1:"},
		{"detector off", func(c *Capture) { c.log("kmemleak: Kernel memory leak detector disabled") }, ReasonDetectorDied, "detector disabled"},
		{"pool empty", func(c *Capture) {
			c.log("kmemleak: Memory pool empty, consider increasing CONFIG_DEBUG_KMEMLEAK_MEM_POOL_SIZE")
		}, ReasonDetectorDied, "pool empty"},
		{"object overlaps", func(c *Capture) {
			c.log("kmemleak: Cannot insert 0xffff into the object search tree (overlaps existing)")
		}, ReasonDetectorDied, "overlaps"},
		{"no memory for metadata", func(c *Capture) { c.log("kmemleak: Cannot allocate a kmemleak_object structure") }, ReasonDetectorDied, "kmemleak_object"},
		{"a task that oopsed", func(c *Capture) {
			c.Reason, c.Detail = "load-hang", "not done"
			c.log("BUG: kernel NULL pointer dereference, address: 0000000000000000")
		}, ReasonOops, "address: 0000000000000000; then load-hang: not done"},
		{"an oops on the console alone", func(c *Capture) {
			c.Reason, c.Detail, c.Console, c.Dmesg = ReasonHang, "no word", []byte("[    3.1] kernel BUG at a.c:1!\n"), nil
		}, ReasonOops, "a.c:1!; then hang: no word"},
		{"a child that the kernel shot", func(c *Capture) {
			c.Reason, c.Detail = "agent-error", "ended by SIGKILL"
			c.log("insmod invoked oom-killer: gfp_mask=0xcc0")
		}, "out-of-memory", "insmod invoked oom-killer: gfp_mask=0xcc0; then agent-error: ended by SIGKILL"},
		{"QEMU that died beside an oops", func(c *Capture) {
			c.Reason, c.Detail = ReasonQEMU, "signal: killed"
			c.log("kernel BUG at a.c:1!")
		}, ReasonQEMU, "signal: killed"},
		{"a detector that is off", func(c *Capture) {
			c.Reason, c.Detail = "detector-off", "refused"
			c.log("kmemleak: Kernel memory leak detector disabled")
		}, "detector-off", "refused: kmemleak: Kernel memory leak detector disabled"},
		{"a detector that gave up", func(c *Capture) {
			c.Reason, c.Detail = "detector-off", "refused"
			c.log("kmemleak: Memory pool empty, consider increasing CONFIG_DEBUG_KMEMLEAK_MEM_POOL_SIZE")
			c.log("kmemleak: Kernel memory leak detector disabled")
		}, ReasonDetectorDied, "Memory pool empty, consider increasing CONFIG_DEBUG_KMEMLEAK_MEM_POOL_SIZE; then detector-off: refused"},
		{"panic", func(c *Capture) { c.log("Kernel panic - not syncing: Fatal exception") }, ReasonPanic, "Fatal"},
		{"x86 oops", func(c *Capture) { c.log("BUG: kernel NULL pointer dereference, address: 0000000000000000") }, ReasonOops, "NULL"},
		{"arm64 oops", func(c *Capture) { c.log("Internal error: Oops: 0000000096000005 [#1] SMP") }, ReasonOops, "Oops"},
		{"kernel BUG", func(c *Capture) { c.log("kernel BUG at mm/slub.c:1!") }, ReasonOops, "slub"},
		{"a double free under slub_debug", func(c *Capture) {
			c.log("=============================================================================")
			c.log("BUG kmalloc-64 (Tainted: G           O      ): Object already free")
		}, ReasonOops, "BUG kmalloc-64 (Tainted: G           O      ): Object already free"},
		{"a broken free list", func(c *Capture) { c.log("BUG kmalloc-64 (Not tainted): Freechain corrupt") }, ReasonOops, "Freechain"},
		{"objects in a cache destroyed", func(c *Capture) {
			c.log("BUG foo (Tainted: G   O): Objects remaining in foo on __kmem_cache_shutdown()")
		}, ReasonWarn, "remaining"},
		{"out of memory", func(c *Capture) { c.log("Out of memory: Killed process 9 (sh)") }, "out-of-memory", "Killed"},
		{"oom-killer", func(c *Capture) { c.log("insmod invoked oom-killer: gfp_mask=0xcc0") }, "out-of-memory", "insmod"},
		{"warning", func(c *Capture) {
			c.log("------------[ cut here ]------------\n[    3.1] WARNING: CPU: 0 PID: 9 at a.c:1 f+0x1/0x2")
		}, ReasonWarn, "WARNING: CPU"},
		{"warning of 2026", func(c *Capture) { c.log("WARNING: a.c:1 at f+0x1/0x2, CPU#0: insmod/71") }, ReasonWarn, "a.c:1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := canaryCapture()
			c.CPUs = 1
			tc.spoil(c)
			run := Judge(c, Policy{})
			assert.Equal(t, None, run.Verdict)
			assert.Equal(t, tc.reason, run.Reason)
			assert.Contains(t, run.Detail, tc.detail)
		})
	}
}

// TestJudgeWithoutStacks: what the last read with the task stacks lacks may have
// been held by one, and the report says that they were left out.
func TestJudgeWithoutStacks(t *testing.T) {
	c := canaryCapture()
	c.Stacks = append(c.Stacks, fooLeak(0)...)
	c.leak(fooLeak(0), fooLeak(1))
	run := Judge(c, Policy{})
	assert.Equal(t, Leaks, run.Verdict, run.Detail)
	assert.Contains(t, strings.Join(run.Warnings, "\n"), "left out of the scans that decide")
	counts := map[Status]int{}
	for _, l := range run.Leaks {
		counts[l.Status] += l.Count
	}
	assert.Equal(t, map[Status]int{New: 1, Transient: 1}, counts)
}

func (c *Capture) log(line string) {
	c.Dmesg = append(c.Dmesg, "[    3.000000] "+line+"\n"...)
}

func TestJudgeWarnings(t *testing.T) {
	c := canaryCapture()
	c.log("WARNING: CPU: 0 PID: 9 at a.c:1 f+0x1/0x2")
	run := Judge(c, Policy{AllowWarn: true})
	assert.Equal(t, Clean, run.Verdict)
	assert.Contains(t, run.Warnings, "the kernel warned: WARNING: CPU: 0 PID: 9 at a.c:1 f+0x1/0x2")

	c.leak(fooLeak(0))
	run = Judge(c, Policy{})
	assert.Equal(t, Leaks, run.Verdict, "an orphan beside a whole canary is a leak, warning or not")

	c = canaryCapture()
	c.KeptLoaded = true
	assert.Contains(t, strings.Join(Judge(c, Policy{}).Warnings, "\n"), "weaker")
}

func TestJudgeDidNothing(t *testing.T) {
	none := 0
	c := canaryCapture()
	c.Tracked = &none
	run := Judge(c, Policy{})
	assert.Equal(t, Clean, run.Verdict)
	assert.Contains(t, strings.Join(run.Warnings, "\n"), "allocated nothing")

	c.Tracked = nil
	assert.Contains(t, strings.Join(Judge(c, Policy{}).Warnings, "\n"), "was not counted")
	some := 7
	c.Tracked = &some
	run = Judge(c, Policy{})
	assert.Equal(t, 7, run.Stats.Tracked)
	assert.Empty(t, run.Warnings)

	run = Judge(c, Policy{RequireProbe: true})
	assert.Equal(t, None, run.Verdict)
	assert.Equal(t, ReasonNothingProbed, run.Reason)

	c.Loads[0].Bound = []string{"pci:edu:0000:00:05.0"}
	run = Judge(c, Policy{RequireProbe: true})
	assert.Equal(t, Clean, run.Verdict)
	assert.Equal(t, 1, run.Stats.Devices)
}

func TestJudgeSkipped(t *testing.T) {
	run := Judge(&Capture{Skipped: "BUILD_EXCLUSIVE_ARCH"}, Policy{})
	assert.Equal(t, Skipped, run.Verdict)
	assert.Equal(t, "BUILD_EXCLUSIVE_ARCH", run.Reason)
}

// TestCanaryUnderTest: kmemleak-test is its own module under test; its second
// set of orphans has the canary's names, and is no canary's.
func TestCanaryUnderTest(t *testing.T) {
	c := canaryCapture()
	c.Modules = []Module{{Name: "kmemleak_test", UnderTest: true}}
	c.leak(object(0xffff888008000000, 32, 90, 2050, "kmemleak_test_init+0x1/0x2 [kmemleak_test]"))
	c.log("kmemleak: Kmemleak testing\n[    4.0] kmemleak: kmalloc(32) = ffff888008000000")
	run := Judge(c, Policy{})
	assert.Equal(t, CanaryResult{25, 25}, run.Canary)
	require.Len(t, run.Leaks, 1)
	assert.Equal(t, "kmemleak_test_init", run.Leaks[0].Function)
}

func TestCanaryTable(t *testing.T) {
	for _, c := range []struct {
		kernel string
		cpus   int
		want   int
	}{
		{"6.1.192", 1, 24}, {"6.1.0-dirty", 4, 27}, {"6.12.117", 1, 25}, {"7.3.0-rc1", 2, 26}, {"5.10", 0, 24},
	} {
		assert.Equal(t, c.want, canaryTotal(&Capture{Kernel: c.kernel, CPUs: c.cpus}), c.kernel)
	}
}

func TestSuppressions(t *testing.T) {
	c := canaryCapture()
	c.leak(fooLeak(0))
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	sig := Judge(c, Policy{}).Leaks[0].Signature
	for _, tc := range []struct {
		name   string
		s      Suppression
		status Status
		warn   string
		unused bool
	}{
		{"glob", Suppression{Match: "memory leak in foo_*", Reason: "r"}, Suppressed, "", false},
		{"signature", Suppression{Signature: sig, Reason: "r"}, Suppressed, "", false},
		{"its last day", Suppression{Match: "*", Reason: "r", Expires: "2026-11-23"}, Suppressed, "", false},
		{"expired", Suppression{Match: "*", Reason: "r", Expires: "2026-11-22", Line: 9}, New, "suppression in line 9 (match \"*\") expired on 2026-11-22", false},
		{"a date that is none", Suppression{Match: "*", Reason: "r", Expires: "soon"}, New, "expired on soon", false},
		{"stale", Suppression{Match: "memory leak in bar", Reason: "r"}, New, "", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			run := Judge(c, Policy{Suppress: []Suppression{tc.s}, Now: now})
			require.Len(t, run.Leaks, 1)
			assert.Equal(t, tc.status, run.Leaks[0].Status)
			assert.Contains(t, strings.Join(run.Warnings, "\n"), tc.warn)
			assert.Equal(t, tc.unused, len(run.UnusedSuppressions) > 0)
			assert.Equal(t, tc.unused, len(NewReport([]Run{run}).Warnings) > 0)
			want := map[Status]Verdict{New: Leaks, Suppressed: Clean}[tc.status]
			assert.Equal(t, want, run.Verdict)
		})
	}
	t.Run("under fail-on any", func(t *testing.T) {
		run := Judge(c, Policy{Suppress: []Suppression{{Match: "*", Reason: "r"}}, FailOn: "any"})
		assert.Equal(t, Leaks, run.Verdict)
	})
}

// TestStaleSuppressions: what one run used is not stale, nor what only a run
// without a verdict could have used; report.json keeps what merging needs.
func TestStaleSuppressions(t *testing.T) {
	narrowed := Run{Verdict: Clean, UnusedSuppressions: []string{"for 6.1", "everywhere"}}
	other := Run{Verdict: Leaks, UsedSuppressions: []string{"everywhere"}}
	lost := Run{Verdict: None, UnusedSuppressions: []string{"not judged"}}
	report := NewReport([]Run{narrowed, other, lost})
	assert.Equal(t, []string{"for 6.1 is stale: it matches no leak any more; remove it"}, report.Warnings)

	var file bytes.Buffer
	require.NoError(t, WriteJSON(&file, report))
	again, err := ReadJSON(&file)
	require.NoError(t, err)
	assert.Equal(t, report.Warnings, NewReport(again.Runs).Warnings)
}

func TestFails(t *testing.T) {
	leaks := Report{Verdict: Leaks}
	assert.True(t, leaks.Fails(""))
	assert.True(t, leaks.Fails("new"))
	assert.True(t, leaks.Fails("any"))
	assert.False(t, leaks.Fails("never"))
	assert.False(t, Report{Verdict: Clean}.Fails("any"))
}

func TestOverall(t *testing.T) {
	for _, c := range []struct {
		runs []Verdict
		want Verdict
	}{
		{nil, None}, {[]Verdict{Clean}, Clean}, {[]Verdict{Clean, Skipped}, Clean}, {[]Verdict{Skipped, Skipped}, Skipped},
		{[]Verdict{Clean, None}, None}, {[]Verdict{None, Leaks}, Leaks}, {[]Verdict{Clean, ""}, None},
	} {
		var runs []Run
		for _, v := range c.runs {
			runs = append(runs, Run{Verdict: v})
		}
		assert.Equal(t, c.want, NewReport(runs).Verdict, c.runs)
	}
}
