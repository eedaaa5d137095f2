package reports

import (
	"cmp"
	"slices"
	"strings"
)

// MaxRecords bounds the raw records that a leak carries; all of them are in the
// run's folder.
const MaxRecords = 16

// orphan is a record on its way to a leak.
type orphan struct {
	rec       *Record
	frames    []Frame
	blamed    []Frame
	signature string
	transient bool
	noise     bool
	walk      []int   // steps of a walk it belongs to
	head      *orphan // the orphan it hangs on; nil for a head
	order     int     // in the file, which is the order of allocation
}

// group makes leaks of orphans: one for each signature of a head. Children go
// with their head, whatever their own signature is.
func (j *judge) group(orphans []*orphan) []Leak {
	type key struct {
		signature string
		status    Status
	}
	members := map[key][]*orphan{}
	var keys []key
	for _, o := range orphans {
		head := o
		if o.head != nil {
			head = o.head
		}
		k := key{head.signature, head.status()}
		if members[k] == nil {
			keys = append(keys, k)
		}
		members[k] = append(members[k], o)
	}
	leaks := make([]Leak, 0, len(keys))
	for _, k := range keys {
		leaks = append(leaks, j.leak(members[k], k.status))
	}
	return leaks
}

func (o *orphan) status() Status {
	switch {
	case o.transient:
		return Transient
	case o.noise:
		return Noise
	}
	return New
}

// leak sums up orphans of one signature and their children.
func (j *judge) leak(members []*orphan, status Status) Leak {
	heads := slices.DeleteFunc(slices.Clone(members), func(o *orphan) bool { return o.head != nil })
	heads = j.newFirst(heads)
	first := heads[0]
	l := Leak{
		Signature: first.signature, Status: status, Kind: commonKind(heads), Size: commonSize(heads),
		Count: len(members), Children: len(members) - len(heads), Frames: first.frames,
		Records: []string{}, Sites: j.sites(members, first.signature),
	}
	if l.Frames == nil {
		l.Frames = []Frame{}
	}
	l.describe(first.blamed)
	for _, o := range append(heads, children(members)...) {
		if len(l.Records) < MaxRecords {
			l.Records = append(l.Records, o.rec.Raw)
		}
	}
	for _, o := range members {
		l.Bytes += o.rec.Size * int64(1+o.rec.More)
		l.Count += o.rec.More
		l.Walk = append(l.Walk, o.walk...)
	}
	slices.Sort(l.Walk)
	l.Walk = slices.Compact(l.Walk)
	l.PerCycle, l.Cycles = j.perCycle(members)
	if l.File != "" {
		l.Source = j.src.excerpt(l.File, l.Line)
	}
	return l
}

// newFirst puts what exceeds the baseline before what it knows: a leak is shown by
// the line that is new of it, which is the one that a pull request's author wrote.
func (j *judge) newFirst(heads []*orphan) []*orphan {
	left := j.p.Baseline.counts()
	var first, known []*orphan
	for _, o := range heads {
		s := j.site(o)
		key := siteKey{o.signature, s.Function, s.Text}
		if left[key] > 0 {
			known = append(known, o)
		} else {
			first = append(first, o)
		}
		left[key] -= 1 + o.rec.More
	}
	return append(first, known...)
}

func children(members []*orphan) []*orphan {
	return slices.DeleteFunc(slices.Clone(members), func(o *orphan) bool { return o.head == nil })
}

// describe names the leak after its first blamed frame.
func (l *Leak) describe(blamed []Frame) {
	l.Function = "unknown function"
	if len(blamed) > 0 {
		f := blamed[0]
		l.Function, l.Module, l.File, l.Line = baseName(f.Function), f.Module, f.File, f.Line
	}
	l.Title = "memory leak in " + l.Function
}

// sites counts the orphans of each allocating line. The lines of one function
// are told apart by their text, which outlives a shift of lines.
func (j *judge) sites(members []*orphan, signature string) []Site {
	count := map[Site]int{}
	for _, o := range members {
		s := j.site(o)
		if o.signature != signature {
			s.Signature = o.signature
		}
		count[s] += 1 + o.rec.More
	}
	return sitesOf(count)
}

// addSites adds the counts of sites that are the same.
func addSites(have, more []Site) []Site {
	count := map[Site]int{}
	for _, s := range slices.Concat(have, more) {
		n := s.Count
		s.Count = 0
		count[s] += n
	}
	return sitesOf(count)
}

// sitesOf puts each site's count into it, in the order of files and lines.
func sitesOf(count map[Site]int) []Site {
	sites := make([]Site, 0, len(count))
	for s, n := range count {
		s.Count = n
		sites = append(sites, s)
	}
	slices.SortFunc(sites, func(a, b Site) int {
		return cmp.Or(cmp.Compare(a.Signature, b.Signature), cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Function, b.Function), cmp.Compare(a.Size, b.Size))
	})
	return sites
}

// site is the line that allocated an orphan.
func (j *judge) site(o *orphan) Site {
	s := Site{Size: o.rec.Size}
	if len(o.blamed) > 0 {
		f := o.blamed[0]
		s.Function, s.File, s.Line = baseName(f.Function), f.File, f.Line
		s.Text = j.src.text(f.File, f.Line)
	}
	return s
}

func commonSize(orphans []*orphan) int64 {
	return mostFrequent(orphans, func(o *orphan) int64 { return o.rec.Size })
}

func commonKind(orphans []*orphan) string {
	return mostFrequent(orphans, (*orphan).kind)
}

// mostFrequent returns the value that most orphans have, the smaller of two
// that are as frequent.
func mostFrequent[T cmp.Ordered](orphans []*orphan, of func(*orphan) T) T {
	count := map[T]int{}
	for _, o := range orphans {
		count[of(o)]++
	}
	var best T
	for v, n := range count {
		if n > count[best] || n == count[best] && v < best {
			best = v
		}
	}
	return best
}

// kind tells percpu objects from others also where the kernel prints them under
// the plain header (6.12 to 6.14): by their dump, or by who allocated them.
func (o *orphan) kind() string {
	if o.rec.Kind != KindObject {
		return o.rec.Kind
	}
	if o.rec.DumpCPU >= 0 {
		return KindPercpu
	}
	for _, f := range o.rec.Frames {
		if strings.Contains(f.Symbol, "pcpu_alloc") || strings.Contains(f.Symbol, "alloc_percpu") {
			return KindPercpu
		}
		if !isAllocator(f.Symbol) {
			break
		}
	}
	return KindObject
}
