package reports

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// adopt finds out which orphans hang on another: an orphan that can be reached
// only from orphans is leaked because they are.
//
// Every aligned word in an orphan's memory that points into another orphan is
// an edge, as kmemleak itself reads memory. Orphans that reach each other form
// a ring (a list's owner and its nodes: the last node points back to the
// owner). What no edge from outside enters is headed by the one of its members
// that was allocated first, since an owner is older than what it owns; kmemleak
// prints objects in the order of their allocation. All that is reached from a
// head is its child; what several heads reach is the first one's. Rings and
// orphans without an edge into them are heads of their own.
//
// A leaked list of 1000 nodes is thereby one leak of 1000 objects.
func adopt(orphans []*orphan, memory map[uint64][]byte) {
	if len(memory) == 0 {
		return
	}
	g := pointerGraph(orphans, memory)
	taken := make([]bool, len(orphans))
	for _, head := range g.heads() {
		if taken[head] {
			continue
		}
		g.reach(head, taken, func(i int) {
			if i != head {
				orphans[i].head = orphans[head]
			}
		})
	}
}

// Region is a piece of the guest's memory, by its kernel address.
type Region struct {
	Addr uint64
	Size int64
}

// OrphanMemory returns the memory of the objects that the last read reports
// beyond those of the boot and the canary: what adopt wants to see. A single
// orphan belongs to nobody.
func OrphanMemory(c *Capture) []Region {
	before, err := parseAll(bytes.NewReader(c.Before), "before.txt", FormatFile)
	if err != nil {
		return nil // and no verdict
	}
	last, err := parseAll(bytes.NewReader(c.Last), "kmemleak.txt", FormatFile)
	if err != nil {
		return nil
	}
	known := identities(before)
	var out []Region
	for i := range last {
		rec := &last[i]
		if rec.Kind == KindObject && !known[rec.identity()] && !c.Canary.isCanary(rec) {
			out = append(out, Region{rec.Address, rec.Size})
		}
	}
	if len(out) < 2 {
		return nil
	}
	return out
}

// graph holds, for each orphan, the orphans it points to.
type graph [][]int

func pointerGraph(orphans []*orphan, memory map[uint64][]byte) graph {
	byAddr := make([]int, len(orphans))
	for i := range byAddr {
		byAddr[i] = i
	}
	slices.SortFunc(byAddr, func(a, b int) int {
		x, y := orphans[a].rec.Address, orphans[b].rec.Address
		switch {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return a - b
	})
	find := func(p uint64) (int, bool) {
		at, exact := slices.BinarySearchFunc(byAddr, p, func(i int, p uint64) int {
			switch a := orphans[i].rec.Address; {
			case a < p:
				return -1
			case a > p:
				return 1
			}
			return 0
		})
		if !exact {
			at--
		}
		if at < 0 {
			return 0, false
		}
		r := orphans[byAddr[at]].rec
		return byAddr[at], p-r.Address < uint64(r.Size)
	}
	g := make(graph, len(orphans))
	for i, o := range orphans {
		b := memory[o.rec.Address]
		for b = b[:min(int64(len(b)), o.rec.Size)]; len(b) >= 8; b = b[8:] {
			if to, ok := find(binary.LittleEndian.Uint64(b)); ok && to != i {
				g[i] = append(g[i], to)
			}
		}
	}
	return g
}

// heads returns the first orphan of each ring that none enters, in order.
//
// A depth-first walk leaves last what reaches the rest (Kosaraju): taken in
// reverse order of leaving, each orphan that was not reached before is in a
// ring that nothing enters, and what reaches it is just its ring.
func (g graph) heads() []int {
	seen := make([]bool, len(g))
	var left []int
	for i := range g {
		g.finish(i, seen, &left)
	}
	slices.Reverse(left)
	back, inRing := g.reversed(), make([]bool, len(g))
	seen = make([]bool, len(g))
	var heads []int
	for _, i := range left {
		if seen[i] {
			continue
		}
		g.reach(i, seen, func(int) {})
		head := i
		back.reach(i, inRing, func(k int) { head = min(head, k) })
		heads = append(heads, head)
	}
	slices.Sort(heads)
	return heads
}

func (g graph) reversed() graph {
	back := make(graph, len(g))
	for i, out := range g {
		for _, k := range out {
			back[k] = append(back[k], i)
		}
	}
	return back
}

// reach visits what can be reached from i and was not seen, without recursion:
// a leaked list may be long.
func (g graph) reach(i int, seen []bool, visit func(int)) {
	stack := []int{i}
	seen[i] = true
	for len(stack) > 0 {
		i = stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		visit(i)
		for _, k := range g[i] {
			if !seen[k] {
				seen[k] = true
				stack = append(stack, k)
			}
		}
	}
}

// finish appends i and what it reaches in the order in which a depth-first walk
// leaves them.
func (g graph) finish(i int, seen []bool, left *[]int) {
	if seen[i] {
		return
	}
	type step struct{ node, next int }
	stack := []step{{i, 0}}
	seen[i] = true
	for len(stack) > 0 {
		top := &stack[len(stack)-1]
		if top.next == len(g[top.node]) {
			*left = append(*left, top.node)
			stack = stack[:len(stack)-1]
			continue
		}
		k := g[top.node][top.next]
		top.next++
		if !seen[k] {
			seen[k] = true
			stack = append(stack, step{k, 0})
		}
	}
}
