package reports

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
)

// walkedPiece is a piece of a walk that came to v: the steps from … to, of which
// the last met no fault where ends is set.
func walkedPiece(v Verdict, from, to int, ends bool, findings ...Finding) Run {
	run := Run{Verdict: v, Walk: &WalkResult{Findings: findings, part: walkPart{module: "foo"}}}
	if v == None {
		run.Reason, run.Detail = ReasonQEMU, "QEMU ended"
	}
	for n := from; n <= to; n++ {
		run.Walk.steps = append(run.Walk.steps, walkedStep{n: n, injected: !ends || n < to, own: true})
	}
	return run
}

func TestMergeWalk(t *testing.T) {
	clean := Run{Verdict: Clean}
	t.Run("all failed once and nothing came of it", func(t *testing.T) {
		got := MergeWalk(clean, []Run{walkedPiece(Clean, 25, 42, true), walkedPiece(Clean, 1, 24, false), walkedPiece(Clean, 49, 49, true)}, nil)
		assert.Equal(t, Clean, got.Verdict, got.Detail)
		assert.Equal(t, WalkResult{Allocations: 41, Failed: 41, Findings: []Finding{}}, *got.Walk)
	})
	t.Run("a finding fails the run, in the order of n", func(t *testing.T) {
		got := MergeWalk(clean, []Run{walkedPiece(Leaks, 25, 42, true, Finding{N: 30, Kind: "oops"}), walkedPiece(Leaks, 1, 24, false, Finding{N: 3, Kind: "leak"})}, nil)
		assert.Equal(t, Leaks, got.Verdict)
		assert.Equal(t, []Finding{{N: 3, Kind: "leak"}, {N: 30, Kind: "oops"}}, got.Walk.Findings)
		assert.Empty(t, got.Warnings)
	})
	t.Run("a piece without a verdict is never a pass, wherever it lies", func(t *testing.T) {
		lost := walkedPiece(None, 25, 24, false)
		for _, pieces := range [][]Run{{lost}, {walkedPiece(Clean, 1, 24, true), lost}, {walkedPiece(Clean, 1, 24, false), lost}} {
			got := MergeWalk(clean, pieces, nil)
			assert.Equal(t, None, got.Verdict)
			assert.Equal(t, ReasonQEMU, got.Reason)
			assert.Equal(t, "while its error paths were walked: QEMU ended", got.Detail)
		}
	})
	t.Run("a finding stands beside a lost piece, which is told", func(t *testing.T) {
		got := MergeWalk(clean, []Run{walkedPiece(None, 1, 0, false), walkedPiece(Leaks, 25, 42, true, Finding{N: 30, Kind: "panic"})}, nil)
		assert.Equal(t, Leaks, got.Verdict)
		assert.Equal(t, []string{"the walk of its error paths is not complete: qemu-died: QEMU ended"}, got.Warnings)
	})
	t.Run("a finding behind the end is kept, its steps are not counted", func(t *testing.T) {
		got := MergeWalk(clean, []Run{walkedPiece(Clean, 1, 24, true), walkedPiece(Leaks, 25, 25, false, Finding{N: 25, Kind: "oops"})}, nil)
		assert.Equal(t, Leaks, got.Verdict)
		assert.Equal(t, []int{23, 23, 1}, []int{got.Walk.Allocations, got.Walk.Failed, len(got.Walk.Findings)})
	})
	t.Run("what nobody made fail did not pass", func(t *testing.T) {
		for name, pieces := range map[string][]Run{
			"a hole": {walkedPiece(Clean, 1, 20, false), walkedPiece(Clean, 25, 42, true)}, "no piece": nil,
		} {
			got := MergeWalk(clean, pieces, nil)
			assert.Equal(t, None, got.Verdict, name)
			assert.Equal(t, ReasonIncomplete, got.Reason, name)
		}
	})
	t.Run("bounded where no piece met the end, an oops or not", func(t *testing.T) {
		got := MergeWalk(clean, []Run{walkedPiece(Clean, 1, 6, false), walkedPiece(Leaks, 7, 7, false, Finding{N: 7, Kind: "oops"}), walkedPiece(Clean, 8, 24, false)}, nil)
		assert.True(t, got.Walk.Bounded)
		assert.Equal(t, 24, got.Walk.Allocations)
	})
	t.Run("what every load leaks is no finding of the walk", func(t *testing.T) {
		plain := Run{Verdict: Clean, Leaks: []Leak{{Signature: "s", Status: Known, Count: 1}}}
		piece := walkedPiece(Leaks, 1, 3, true, Finding{N: 1, Kind: "leak", Signature: "s"}, Finding{N: 2, Kind: "leak", Signature: "s"})
		piece.Leaks = []Leak{{Signature: "s", Status: New, Count: 2, Walk: []int{1, 2}}}
		got := MergeWalk(plain, []Run{piece}, nil)
		assert.Equal(t, Clean, got.Verdict)
		assert.Empty(t, got.Walk.Findings)
		assert.Equal(t, plain.Leaks, got.Leaks)
	})
	t.Run("several walks are one, and each finding names its own", func(t *testing.T) {
		script := walkedPiece(Leaks, 1, 3, true, Finding{N: 1, Kind: "hang"})
		script.Walk.part = walkPart{}
		got := MergeWalk(clean, []Run{walkedPiece(Leaks, 1, 11, true, Finding{N: 4, Kind: "oops"}), script}, nil)
		assert.Equal(t, []Finding{{N: 1, Kind: "hang", Of: "exercise"}, {N: 4, Kind: "oops", Of: "the load of foo"}}, got.Walk.Findings)
		assert.Equal(t, 12, got.Walk.Allocations)
	})
	t.Run("a suppression that a piece used is not stale", func(t *testing.T) {
		run := Run{Verdict: Clean, UnusedSuppressions: []string{"a", "b"}}
		p := walkedPiece(Clean, 1, 24, true)
		p.UsedSuppressions, p.UnusedSuppressions = []string{"b"}, []string{"a"}
		got := MergeWalk(run, []Run{p}, nil)
		assert.Equal(t, []string{"a"}, got.UnusedSuppressions)
		assert.Len(t, NewReport([]Run{got}).Warnings, 1)
	})
	t.Run("leaks of one signature are one leak", func(t *testing.T) {
		a, b := walkedPiece(Leaks, 1, 24, false), walkedPiece(Leaks, 25, 42, true)
		a.Leaks = []Leak{{Signature: "s", Status: New, Count: 1, Bytes: 64, Walk: []int{3}, Sites: []Site{{File: "a.c", Line: 3, Count: 1}}}}
		b.Leaks = []Leak{{Signature: "s", Status: New, Count: 2, Bytes: 128, Walk: []int{30}, Sites: []Site{{File: "a.c", Line: 3, Count: 1}, {File: "a.c", Line: 9, Count: 1}}}}
		got := MergeWalk(clean, []Run{a, b}, nil)
		assert.Equal(t, []Leak{{
			Signature: "s", Status: New, Count: 3, Bytes: 192, Walk: []int{3, 30},
			Sites: []Site{{File: "a.c", Line: 3, Count: 2}, {File: "a.c", Line: 9, Count: 1}},
		}}, got.Leaks)
		assert.Equal(t, Leaks, got.Verdict)
	})
	t.Run("the baseline holds for all pieces together", func(t *testing.T) {
		baseline := func(n int) *Baseline {
			return &Baseline{Leaks: []BaselineEntry{{Signature: "s", Sites: []BaselineSite{{Function: "f", Text: "x", Count: n}}}}}
		}
		judged := func(known *Baseline, counts ...int) Run {
			var pieces []Run
			for i, n := range counts {
				p := walkedPiece(Leaks, 24*i+1, 24*i+24, i == len(counts)-1)
				p.Leaks = []Leak{{Signature: "s", Status: New, Count: n, Sites: []Site{{Function: "f", Text: "x", Count: n}}}}
				known.apply(p.Leaks) // as the piece's own judge does
				pieces = append(pieces, p)
			}
			return MergeWalk(clean, pieces, known)
		}
		enough := judged(baseline(5), 2, 3)
		assert.Equal(t, Clean, enough.Verdict)
		assert.Equal(t, Known, enough.Leaks[0].Status)
		for name, counts := range map[string][]int{"each within": {3, 3}, "one above": {1, 6}} {
			got := judged(baseline(5), counts...)
			assert.Equal(t, Leaks, got.Verdict, name)
			assert.Len(t, got.Leaks, 1, name)
			assert.Equal(t, New, got.Leaks[0].Status, name)
			assert.Equal(t, fmt.Sprintf("5 of %d objects are in the baseline, the rest is new", counts[0]+counts[1]), got.Leaks[0].Note, name)
		}
	})
	t.Run("a leak carries only so many records", func(t *testing.T) {
		a, b := walkedPiece(Leaks, 1, 24, false), walkedPiece(Leaks, 25, 42, true)
		a.Leaks = []Leak{{Signature: "s", Status: New, Count: 10, Records: make([]string, 10)}}
		b.Leaks = []Leak{{Signature: "s", Status: New, Count: 10, Records: make([]string, 10)}}
		assert.Len(t, MergeWalk(clean, []Run{a, b}, nil).Leaks[0].Records, MaxRecords)
	})
}
