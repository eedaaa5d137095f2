package harness

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/initramfs/wire"
	"github.com/kmemgate/kmemgate/reports"
	"github.com/kmemgate/kmemgate/scenarios"
)

// stepLog is a kernel's log of steps as the agent marks them. Of the last one
// there is a beginning alone where it is not ended.
func stepLog(ended bool, steps ...string) []byte {
	var b strings.Builder
	for i, said := range steps {
		fmt.Fprintf(&b, "[   21.%06d] kmemgate: walk step %d begins\r\n%s\n", i, i+1, said)
		if ended || i < len(steps)-1 {
			fmt.Fprintf(&b, "[   21.%06d] kmemgate: walk step %d ends\r\n", i, i+1)
		}
	}
	return []byte(b.String())
}

func TestSplitSteps(t *testing.T) {
	const oops = "[   21.5] BUG: kernel NULL pointer dereference, address: 0000000000000000"
	asked := reports.WalkData{Module: "foo", From: 1, To: 24}
	for _, tt := range []struct {
		name   string
		reason string
		log    []byte
		told   int // steps of which a message came
		want   string
		left   string // reason that is not explained by a step
	}{
		{"all well", "", stepLog(true, "", "", ""), 3, "1 2 3", ""},
		{"an oops amid the steps", "", stepLog(true, "", oops, ""), 3, "1 2:oops", ""},
		{"an oops that ends the guest", wire.ReasonLoadHang, stepLog(true, "", oops), 1, "1 2:oops", ""},
		{"a double free", "", stepLog(true, "", "BUG kmalloc-64 (Tainted: G O): Object already free", ""), 3, "1 2:oops", ""},
		{"a panic", reports.ReasonPanic, stepLog(false, "", "Kernel panic - not syncing: foo"), 1, "1 2:panic", ""},
		{"a panic behind the steps", reports.ReasonPanic, stepLog(true, "", ""), 2, "1 2", reports.ReasonPanic},
		{"silence", reports.ReasonHang, stepLog(false, "", ""), 1, "1 2:hang", ""},
		{"silence behind the steps", reports.ReasonHang, stepLog(true, "", ""), 2, "1 2", reports.ReasonHang},
		{"a load that does not return", wire.ReasonLoadHang, stepLog(true, "", ""), 1, "1 2:hang", ""},
		{"a module that cannot be unloaded", wire.ReasonUnloadFailed, stepLog(true, "", ""), 2, "1 2:stuck", ""},
		{"QEMU gone before the first step", reports.ReasonQEMU, nil, 0, "", reports.ReasonQEMU},
		{"QEMU gone in a step", reports.ReasonQEMU, stepLog(false, "", ""), 1, "1", reports.ReasonQEMU},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := &reports.Capture{Reason: tt.reason, Console: tt.log}
			if tt.told > 0 {
				c.Walk = &reports.WalkData{}
			}
			for n := range tt.told {
				c.Walk.Steps = append(c.Walk.Steps, reports.WalkStep{N: n + 1, Injected: true})
			}
			splitSteps(c, asked)
			var got []string
			for _, s := range c.Walk.Steps {
				assert.True(t, s.Injected)
				got = append(got, strings.TrimSuffix(fmt.Sprintf("%d:%s", s.N, s.Died), ":"))
			}
			assert.Equal(t, tt.want, strings.Join(got, " "))
			assert.Equal(t, tt.left, c.Reason)
			assert.Equal(t, 24, c.Walk.To)
		})
	}
}

// playedWalk is a walk whose guests are played: a load that makes `makes`
// allocations, of which each key of fate ends its guest.
func playedWalk(t *testing.T, makes int, fate map[int]string) (*walk, *[]string) {
	t.Helper()
	asked := &[]string{}
	w := &walk{
		gate: &Gate{Host: &Host{Jobs: 1}}, cell: cell{scenario: &scenarios.Scenario{}}, next: 1, end: walkBound + 1,
		data: reports.WalkData{Module: "foo"},
	}
	w.judger = func(c *reports.Capture) reports.Run {
		run := reports.Judge(c, reports.Policy{}) // none: there are no texts
		if c.Reason == "" {
			run.Verdict = reports.Clean
		}
		return run
	}
	w.walker = func(_ context.Context, from, to int) (*reports.Capture, error) {
		*asked = append(*asked, fmt.Sprintf("%d-%d", from, to))
		c := &reports.Capture{Walk: &reports.WalkData{Module: "foo", From: from, To: to}}
		for n := from; n <= to; n++ {
			s := reports.WalkStep{N: n, Injected: n <= makes, Filtered: true, Died: fate[n]}
			switch fate[n] {
			case "lost":
				c.Reason = reports.ReasonQEMU
				return c, nil
			case "stays":
				s.Died, s.Stays = "", true
			}
			c.Walk.Steps = append(c.Walk.Steps, s)
			if !s.Injected || s.Died != "" || s.Stays {
				break
			}
		}
		return c, nil
	}
	return w, asked
}

// TestWalkGoesOnBehindWhatEndsItsGuest: the steps before a deadly one are walked
// again without it, those behind it in a guest of their own.
func TestWalkGoesOnBehindWhatEndsItsGuest(t *testing.T) {
	for _, tt := range []struct {
		name  string
		makes int
		fate  map[int]string
		asked string
		end   int
		lost  bool
	}{
		{"nothing", 70, nil, "1-64 65-128", 71, false},
		{"an end in the first piece", 30, nil, "1-64", 31, false},
		{"an oops", 70, map[int]string{7: "oops"}, "1-64 1-6 8-64 65-128", 71, false},
		{"an oops at once", 3, map[int]string{1: "oops"}, "1-64 2-64", 4, false},
		{"a module that stays", 10, map[int]string{4: "stays"}, "1-64 5-64", 11, false},
		{"a guest that is lost before its first step", 10, map[int]string{1: "lost"}, "1-64", walkBound + 1, true},
		{"a guest that is lost on its way", 150, map[int]string{70: "lost"}, "1-64 65-128", walkBound + 1, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w, asked := playedWalk(t, tt.makes, tt.fate)
			runs, err := w.all(t.Context())
			require.NoError(t, err)
			assert.Equal(t, tt.asked, strings.Join(*asked, " "))
			assert.Equal(t, tt.end, w.end, "only a step without a fault is an end")
			assert.Equal(t, tt.lost, w.lost)
			assert.Equal(t, tt.lost, slices.ContainsFunc(runs, func(r reports.Run) bool { return r.Verdict == reports.None }))
		})
	}
}

func TestWalkIsBounded(t *testing.T) {
	w, asked := playedWalk(t, 2*walkBound, nil)
	_, err := w.all(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "961-1000", (*asked)[len(*asked)-1])
}

// A walk with a budget of guest time ends before the piece that would exceed it.
func TestWalkKeepsToItsBudget(t *testing.T) {
	w, asked := playedWalk(t, walkBound, nil)
	play := w.walker
	w.walker = func(ctx context.Context, from, to int) (*reports.Capture, error) {
		c, err := play(ctx, from, to)
		c.Dmesg = fmt.Appendf(nil, "[  100.000000] kmemgate: walk step %d begins\r\n[  130.000000] kmemgate: walk step %d ends\r\n", from, to)
		return c, err
	}
	w.budget = 100
	require.NoError(t, w.work(t.Context()))
	assert.Equal(t, []string{"1-64", "65-128", "129-192"}, *asked, "90 seconds, and 120 were too many")
}

func TestWalkOfOne(t *testing.T) {
	w, asked := playedWalk(t, 30, nil)
	w.data.Only, w.next, w.end = true, 17, 18
	_, err := w.all(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"17-17"}, *asked)
}

// walked gates a driver of testdata/walk on 6.12 for x86_64.
func walked(t *testing.T, name string, paths scenarios.ErrorPaths) reports.Run {
	t.Helper()
	gateKernel(t)
	s, err := scenarios.Load(filepath.Join("testdata/walk", name))
	require.NoError(t, err)
	s.Kernels, s.Arches, s.ErrorPaths = []string{"6.12"}, []string{"x86_64"}, paths
	return gateOnce(t, testGate(t), s)
}

// found is what a finding says, in a line.
func found(run reports.Run) (list []string) {
	for _, f := range run.Walk.Findings {
		list = append(list, fmt.Sprintf("%s %d %s:%d %s", f.Kind, f.N, filepath.Base(f.File), f.Line, f.Outcome))
	}
	return list
}

// TestWalkThree: three wrong error paths, each found at its line, and nothing else.
func TestWalkThree(t *testing.T) {
	t.Parallel()
	run := walked(t, "three", "true")
	assert.Equal(t, reports.Leaks, run.Verdict, run.Detail)
	assert.Equal(t, []string{
		"leak 2 three.c:21 ENOMEM",
		"oops 4 three.c:32 ",
		"oops 5 three.c:44 ",
	}, found(run))
	require.Len(t, run.Leaks, 1)
	assert.Equal(t, "take_queue", run.Leaks[0].Function)
	assert.Equal(t, 18, run.Leaks[0].Line)
	assert.Contains(t, run.Walk.Findings[1].Text, "Object already free")
	assert.Contains(t, run.Walk.Findings[2].Text, "NULL pointer dereference")
	assert.Equal(t, []int{5, 5}, []int{run.Walk.Allocations, run.Walk.Failed})
	assert.Empty(t, run.Warnings)
}

// TestWalkForty: forty right error paths, each taken once. The time it takes is
// in docs/error-paths.md, and no assertion: the machine may be busy.
func TestWalkForty(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	run := walked(t, "forty", "true")
	t.Logf("from a warm cache to the verdict: %.1f s", time.Since(begin).Seconds())
	assert.Equal(t, reports.Clean, run.Verdict, run.Detail)
	assert.Equal(t, &reports.WalkResult{Allocations: 40, Failed: 40, Findings: []reports.Finding{}}, run.Walk)
}

// TestWalkOneAlone walks one step that leaks and one that nothing comes of.
func TestWalkOneAlone(t *testing.T) {
	t.Parallel()
	run := walked(t, "three", "2")
	assert.Equal(t, []string{"leak 2 three.c:21 ENOMEM"}, found(run))
	assert.Equal(t, []int{2, 1, 1}, []int{run.Walk.Only, run.Walk.Allocations, run.Walk.Failed})
	assert.Regexp(t, `^kmemgate run .*three --kernel 6.12 --arch x86_64 --error-paths=2$`, run.Walk.Findings[0].Alone)
	run = walked(t, "three", "3")
	assert.Equal(t, reports.Clean, run.Verdict, run.Detail)
}

// TestWalkExercise fails what the script's commands allocate in the driver.
func TestWalkExercise(t *testing.T) {
	t.Parallel()
	run := walked(t, "script", "exercise")
	assert.Equal(t, reports.Leaks, run.Verdict, run.Detail)
	assert.Equal(t, []string{"leak 2 script.c:21 succeeded all the same"}, found(run))
	assert.Equal(t, []int{2, 2}, []int{run.Walk.Allocations, run.Walk.Failed})
	assert.Equal(t, "exercise", run.Walk.Findings[0].Of)
}

// TestWalkTwoModules walks the load of each module of a driver of two. What the
// client loses, another module allocated for it.
func TestWalkTwoModules(t *testing.T) {
	t.Parallel()
	run := walked(t, "two", "true")
	assert.Equal(t, reports.Leaks, run.Verdict, run.Detail)
	assert.Equal(t, []string{"leak 2 two_client.c:21 ENOMEM"}, found(run))
	require.Len(t, run.Leaks, 1)
	assert.Equal(t, "two_open core/two_core.c:17", fmt.Sprintf("%s %s:%d", run.Leaks[0].Function, run.Leaks[0].File, run.Leaks[0].Line))
	assert.Equal(t, []int{4, 4}, []int{run.Walk.Allocations, run.Walk.Failed}, "two of each")
	assert.Equal(t, "the load of two_client", run.Walk.Findings[0].Of)
}

// TestWalkStuck: a module that cannot be unloaded since an allocation failed is a
// finding, and the walk goes on behind it.
func TestWalkStuck(t *testing.T) {
	t.Parallel()
	run := walked(t, "stuck", "true")
	assert.Equal(t, reports.Leaks, run.Verdict, run.Detail)
	assert.Equal(t, []string{"stuck 1 stuck.c:15 loaded all the same"}, found(run))
	assert.Contains(t, run.Walk.Findings[0].Text, "its reference count is 1")
	assert.Equal(t, []int{2, 2}, []int{run.Walk.Allocations, run.Walk.Failed})
}
