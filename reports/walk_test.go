package reports

import (
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
	c.Walk = &WalkData{Steps: []WalkStep{
		{N: 1, Injected: true, Errno: "ENOMEM", PID: 91, Begin: 3000, End: 3010, Dmesg: faultDump},
		{N: 2, Injected: true, Errno: "ENOMEM", PID: 92, Begin: 3010, End: 3020},
		{N: 3, PID: 93, Begin: 3020, End: 3030},
	}}
	return c
}

func TestWalkWithoutFindings(t *testing.T) {
	run := Judge(walkCapture(), Policy{})
	assert.Equal(t, Clean, run.Verdict, run.Detail)
	assert.Equal(t, &WalkResult{Allocations: 2, Failed: 2, Findings: []Finding{}}, run.Walk)
}

func TestWalkBounded(t *testing.T) {
	c := walkCapture()
	c.Walk.Steps = c.Walk.Steps[:2]
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
	assert.False(t, run.Walk.Bounded)
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
