package reports

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestMergeWalk(t *testing.T) {
	clean := Run{Verdict: Clean}
	piece := func(v Verdict, allocations, failed int, findings ...Finding) Run {
		return Run{Verdict: v, Reason: "hang", Detail: "no word for 60 s", Walk: &WalkResult{Allocations: allocations, Failed: failed, Findings: findings}}
	}
	t.Run("all failed once and nothing came of it", func(t *testing.T) {
		got := MergeWalk(clean, []Run{piece(Clean, 24, 24), piece(Clean, 41, 17)})
		assert.Equal(t, Clean, got.Verdict)
		assert.Equal(t, 41, got.Walk.Allocations)
		assert.Equal(t, 41, got.Walk.Failed)
	})
	t.Run("a finding fails the run, in the order of n", func(t *testing.T) {
		got := MergeWalk(clean, []Run{piece(Leaks, 41, 17, Finding{N: 30, Kind: "oops"}), piece(Leaks, 24, 24, Finding{N: 3, Kind: "leak"})})
		assert.Equal(t, Leaks, got.Verdict)
		assert.Equal(t, []Finding{{N: 3, Kind: "leak"}, {N: 30, Kind: "oops"}}, got.Walk.Findings)
	})
	t.Run("a piece without a verdict is never a pass", func(t *testing.T) {
		got := MergeWalk(clean, []Run{piece(Clean, 24, 24), piece(None, 41, 0)})
		assert.Equal(t, None, got.Verdict)
		assert.Equal(t, "hang", got.Reason)
		assert.Contains(t, got.Detail, "no word for 60 s")
	})
	t.Run("a finding stands even where another piece has no verdict", func(t *testing.T) {
		got := MergeWalk(clean, []Run{piece(None, 24, 0), piece(Leaks, 41, 17, Finding{N: 30, Kind: "panic"})})
		assert.Equal(t, Leaks, got.Verdict)
		assert.Empty(t, got.Reason)
	})
	t.Run("leaks of one signature are one leak", func(t *testing.T) {
		a, b := piece(Leaks, 24, 24), piece(Leaks, 41, 17)
		a.Leaks = []Leak{{Signature: "s", Status: New, Count: 1, Bytes: 64, Walk: []int{3}}}
		b.Leaks = []Leak{{Signature: "s", Status: New, Count: 2, Bytes: 128, Walk: []int{30}}}
		got := MergeWalk(clean, []Run{a, b})
		assert.Equal(t, []Leak{{Signature: "s", Status: New, Count: 3, Bytes: 192, Walk: []int{3, 30}}}, got.Leaks)
	})
}
