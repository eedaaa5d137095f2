package reports

import (
	"maps"
	"slices"
)

// cycleBegins are the jiffies at which each cycle's first load began, from the
// first cycle on; nil where there is one cycle only. A walk's loads are no cycles.
func (j *judge) cycleBegins() []uint64 {
	begin := map[int]uint64{}
	for _, l := range j.c.Loads {
		if first, ok := begin[l.Cycle]; !l.Canary && l.Cycle > 0 && (!ok || l.Begin < first) {
			begin[l.Cycle] = l.Begin
		}
	}
	if len(begin) < 2 || j.c.Walk != nil {
		return nil
	}
	return slices.Sorted(maps.Values(begin))
}

// perCycle tells by how many objects a leak grew with each cycle after the
// first, and in which it grew at all. What the first cycle lost may be what the
// driver allocates once; a load in each of n cycles has n-1 chances to lose more.
func (j *judge) perCycle(members []*orphan) (growth float64, in []int) {
	begins := j.cycleBegins()
	if begins == nil {
		return 0, nil
	}
	later, seen := 0, map[int]bool{}
	for _, o := range members {
		cycle, began := slices.BinarySearch(begins, o.rec.Jiffies)
		if began {
			cycle++
		}
		cycle = max(cycle, 1)
		if seen[cycle] = true; cycle > 1 {
			later += 1 + o.rec.More
		}
	}
	return float64(later) / float64(len(begins)-1), slices.Sorted(maps.Keys(seen))
}
