package reports

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// faultDump is what lib/fault-inject.c prints with verbose=2.
const faultDump = `[    5.1] FAULT_INJECTION: forcing a failure.
[    5.1] name failslab, interval 1, probability 0, space 0, times 0
[    5.1] CPU: 0 UID: 0 PID: 91 Comm: insmod Not tainted 6.12.117 #1
[    5.1] Call Trace:
[    5.1]  <TASK>
[    5.1]  dump_stack_lvl+0x45/0x60
[    5.1]  should_fail_ex+0x1a2/0x1b0
[    5.1]  should_failslab+0x9/0x20
[    5.1]  __kmalloc_cache_noprof+0x3c/0x340
[    5.1]  ? __pfx_foo_init+0x10/0x10 [foo]
[    5.1]  foo_probe+0x1c/0x40 [foo 0123456789abcdef0123456789abcdef01234567]
[    5.1]  do_one_initcall+0x5b/0x300
[    5.1]  </TASK>
[    5.2] foo: probe failed
`

func walkCapture() *Capture {
	c := canaryCapture()
	c.Modules = []Module{{Name: "foo", UnderTest: true}}
	c.Walk = &WalkData{Module: "foo", From: 1, To: 24, Steps: []WalkStep{
		{N: 1, Injected: true, Errno: "ENOMEM", PID: 91, Begin: 3000, End: 3010, Dmesg: faultDump, Filtered: true},
		{N: 2, Injected: true, PID: 92, Begin: 3010, End: 3020, Filtered: true},
		{N: 3, PID: 93, Begin: 3020, End: 3030, Filtered: true},
	}}
	return c
}

// sum is a walk's result without the work on it.
func sum(w *WalkResult) WalkResult {
	return WalkResult{Allocations: w.Allocations, Failed: w.Failed, Findings: w.Findings, Bounded: w.Bounded, Only: w.Only}
}

func TestWalkWithoutFindings(t *testing.T) {
	run := Judge(walkCapture(), Policy{})
	assert.Equal(t, Clean, run.Verdict, run.Detail)
	assert.Equal(t, WalkResult{Allocations: 2, Failed: 2, Findings: []Finding{}}, sum(run.Walk))
}

// TestWalkCutShort: a guest that ends before its steps are done walked nothing,
// whatever its other texts say.
func TestWalkCutShort(t *testing.T) {
	for name, steps := range map[string][]WalkStep{
		"before its first step": nil,
		"on its way":            walkCapture().Walk.Steps[:2],
		"with a hole":           {walkCapture().Walk.Steps[0], walkCapture().Walk.Steps[2]},
	} {
		t.Run(name, func(t *testing.T) {
			c := walkCapture()
			c.Walk.Steps = steps
			run := Judge(c, Policy{})
			assert.Equal(t, None, run.Verdict)
			assert.Equal(t, ReasonIncomplete, run.Reason)
		})
	}
}

// TestWalkOfOthersAllocations: without a filter in the kernel the stack tells
// whose an allocation is. None is printed where the caller wants no warning.
func TestWalkOfOthersAllocations(t *testing.T) {
	c := walkCapture()
	loader := strings.ReplaceAll(faultDump, "foo_probe+0x1c/0x40 [foo 0123456789abcdef0123456789abcdef01234567]", "load_module+0x1/0x2")
	record := strings.ReplaceAll(faultDump, "__kmalloc_cache_noprof+0x3c/0x340", "kmemleak_alloc+0x4c/0x80")
	const oops = "[    5.3] BUG: kernel NULL pointer dereference, address: 0000000000000008\n"
	for i, dmesg := range []string{faultDump, loader + oops, record, "", ""} {
		s := WalkStep{N: i + 1, Injected: i < 4, PID: 91 + i, Begin: 3000 + 10*uint64(i), End: 3009 + 10*uint64(i), Dmesg: dmesg}
		c.Walk.Steps = append(c.Walk.Steps[:i], s)
	}
	c.Dmesg = append(c.Dmesg, oops...)
	c.leak(object(fooAddr, 64, 92, 3015, "load_module+0x3/0x40"))
	run := Judge(c, Policy{})
	assert.Equal(t, Clean, run.Verdict, run.Detail)
	assert.Equal(t, WalkResult{Allocations: 1, Failed: 1, Findings: []Finding{}}, sum(run.Walk))
	assert.Empty(t, run.Leaks, "the loader's own")

	c.Walk.All = true
	run = Judge(c, Policy{})
	assert.Equal(t, 4, run.Walk.Failed)
	require.Len(t, run.Walk.Findings, 2)
	assert.Equal(t, []string{"oops", "leak"}, []string{run.Walk.Findings[0].Kind, run.Walk.Findings[1].Kind})
}

// TestWalkOfOneAllocation: one step is all that was asked for.
func TestWalkOfOneAllocation(t *testing.T) {
	c := walkCapture()
	c.Command = "kmemgate run foo --kernel 6.12 --error-paths=true --cycles=2"
	c.Walk.Only, c.Walk.From, c.Walk.To = true, 2, 2
	c.Walk.Steps = c.Walk.Steps[1:2]
	c.Walk.Steps[0].Died = ReasonStuck
	run := Judge(c, Policy{})
	require.Len(t, run.Walk.Findings, 1)
	assert.Equal(t, Finding{N: 2, Kind: "stuck", Outcome: "loaded all the same",
		Alone: "kmemgate run foo --kernel 6.12 --cycles=2 --error-paths=2"}, run.Walk.Findings[0])
	assert.Equal(t, []int{2, 1, 1}, []int{run.Walk.Only, run.Walk.Allocations, run.Walk.Failed})
	assert.False(t, run.Walk.Bounded)
}

func TestWalkBounded(t *testing.T) {
	c := walkCapture()
	c.Walk.Steps, c.Walk.To = c.Walk.Steps[:2], 2
	assert.True(t, Judge(c, Policy{}).Walk.Bounded)
}

// TestWalkLeak: two steps within one jiffy are told apart by their task.
func TestWalkLeak(t *testing.T) {
	c := walkCapture()
	c.leak(object(fooAddr, 64, 91, 3010, "foo_probe+0x3/0x40 [foo]"))
	run := Judge(c, Policy{})
	assert.Equal(t, Leaks, run.Verdict)
	assert.Equal(t, []int{1}, run.Leaks[0].Walk)
	require.Len(t, run.Walk.Findings, 1)
	f := run.Walk.Findings[0]
	assert.Equal(t, 1, f.N)
	assert.Equal(t, "leak", f.Kind)
	assert.Equal(t, "ENOMEM", f.Outcome)
	assert.Equal(t, []string{"foo_probe", "foo"}, []string{f.Function, f.Module})
	assert.Equal(t, run.Leaks[0].Signature, f.Signature)
	require.Len(t, f.Stack, 3)
	assert.Equal(t, Frame{Function: "foo_probe", Offset: 0x1c, Module: "foo"}, f.Stack[1])
}

// TestWalkLeakOfAWorker: another task allocated it; its time is all there is.
func TestWalkLeakOfAWorker(t *testing.T) {
	c := walkCapture()
	c.leak(object(fooAddr, 64, 9, 3010, "foo_work+0x3/0x40 [foo]"))
	assert.Equal(t, []int{1, 2}, Judge(c, Policy{}).Leaks[0].Walk)
}

// TestWalkOops: the guest that died is the finding, whatever else is missing.
func TestWalkOops(t *testing.T) {
	c := walkCapture()
	c.Walk.Steps = c.Walk.Steps[:2]
	c.Walk.Steps[1].Died = "oops"
	c.Walk.Steps[1].Dmesg = "[    5.3] BUG: kernel NULL pointer dereference, address: 0000000000000008\n"
	c.Reason = ReasonHang
	run := Judge(c, Policy{})
	assert.Equal(t, Leaks, run.Verdict)
	assert.Equal(t, ReasonHang, run.Reason)
	require.Len(t, run.Walk.Findings, 1)
	assert.Equal(t, "oops", run.Walk.Findings[0].Kind)
	assert.Equal(t, "BUG: kernel NULL pointer dereference, address: 0000000000000008", run.Walk.Findings[0].Text)
	assert.Empty(t, run.Walk.Findings[0].Outcome, "the load never ended")
}

func TestWalkWarning(t *testing.T) {
	const warning = "[    5.3] WARNING: CPU: 0 PID: 92 at foo.c:1 foo_probe+0x1/0x2 [foo]\n"
	c := walkCapture()
	c.Walk.Steps[1].Dmesg = warning
	c.Dmesg = append(c.Dmesg, warning...)
	run := Judge(c, Policy{})
	assert.Equal(t, Leaks, run.Verdict)
	assert.Equal(t, "warn", run.Walk.Findings[0].Kind)
	assert.Equal(t, 2, run.Walk.Findings[0].N)
	assert.Equal(t, Clean, Judge(c, Policy{AllowWarn: true}).Verdict)
}
