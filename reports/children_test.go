package reports

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// words is memory that holds pointers.
func words(ptrs ...uint64) []byte {
	var b []byte
	for _, p := range ptrs {
		b = binary.LittleEndian.AppendUint64(b, p)
	}
	return b
}

// TestLeakedList: an owner with a list_head, and nodes that point to each other
// and the last one back to the owner.
func TestLeakedList(t *testing.T) {
	const nodes = 1000
	c := canaryCapture()
	c.Memory = map[uint64][]byte{}
	addr := func(i int) uint64 { return uint64(fooAddr) + uint64(i)*0x100 }
	c.leak(object(addr(0), 64, 90, 2050, "foo_create+0x3/0x40 [foo]"))
	c.Memory[addr(0)] = words(7, addr(1)+16, addr(nodes)+16)
	for i := 1; i <= nodes; i++ {
		c.leak(object(addr(i), 48, 90, 2050, "foo_add+0x3/0x40 [foo]"))
		next := addr(i+1) + 16
		if i == nodes {
			next = addr(0) + 8
		}
		c.Memory[addr(i)] = words(0, 0, next, addr(i-1)+16)
	}
	run := Judge(c, Policy{})
	require.Len(t, run.Leaks, 1)
	l := run.Leaks[0]
	assert.Equal(t, "foo_create", l.Function)
	assert.Equal(t, nodes+1, l.Count)
	assert.Equal(t, nodes, l.Children)
	assert.Equal(t, int64(64+48*nodes), l.Bytes)
	assert.Equal(t, int64(64), l.Size)
	assert.Len(t, l.Records, MaxRecords)
	require.Len(t, l.Sites, 2)
	assert.Equal(t, nodes, l.Sites[1].Count, "the nodes' site, under their own signature")

	c.Memory = nil
	assert.Len(t, Judge(c, Policy{}).Leaks, 2, "without evidence nothing is grouped")
}

func TestAdopt(t *testing.T) {
	for _, tc := range []struct {
		name   string
		points map[int][]int // orphan to orphans
		heads  []int         // of each orphan
	}{
		{"none", nil, []int{0, 1, 2, 3}},
		{"chain", map[int][]int{3: {2}, 2: {1}, 1: {0}}, []int{3, 3, 3, 3}},
		{"ring is headed by its first", map[int][]int{1: {2}, 2: {3}, 3: {1}}, []int{0, 1, 1, 1}},
		{"ring behind a head", map[int][]int{3: {0}, 0: {1}, 1: {2}, 2: {0}}, []int{3, 3, 3, 3}},
		{"two heads share", map[int][]int{0: {2}, 1: {2, 3}}, []int{0, 1, 0, 1}},
		{"self", map[int][]int{0: {0}}, []int{0, 1, 2, 3}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			memory := map[uint64][]byte{}
			var orphans []*orphan
			addr := func(i int) uint64 { return 0xffff888000000000 + uint64(i)*0x40 }
			for i := range tc.heads {
				orphans = append(orphans, &orphan{rec: &Record{Address: addr(i), Size: 0x40}})
				var ptrs []uint64
				for _, to := range tc.points[i] {
					ptrs = append(ptrs, addr(to)+8)
				}
				memory[addr(i)] = words(ptrs...)
			}
			adopt(orphans, memory)
			for i, o := range orphans {
				head := orphans[tc.heads[i]]
				if head == o {
					assert.Nil(t, o.head, "orphan %d", i)
				} else {
					assert.Same(t, head, o.head, "orphan %d", i)
				}
			}
		})
	}
}

// TestChildOfAKnownLeakIsStillCounted: a second leak must not hide behind a
// known one by hanging on it.
func TestChildOfAKnownLeakIsStillCounted(t *testing.T) {
	c := canaryCapture()
	c.leak(fooLeak(0))
	b := NewBaseline(NewReport([]Run{Judge(c, Policy{})}))
	child := uint64(0xffff888009000000)
	c.leak(object(child, 8, 90, 2050, "foo_second+0x1/0x2 [foo]"))
	c.Memory = map[uint64][]byte{fooAddr: words(child)}
	run := Judge(c, Policy{Baseline: &b})
	require.Len(t, run.Leaks, 1)
	assert.Equal(t, New, run.Leaks[0].Status)
	assert.Equal(t, 1, run.Leaks[0].Children)
}
