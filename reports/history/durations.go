package history

import (
	"context"
	"strings"
)

// Pair is a kernel line on an architecture.
type Pair struct{ Line, Arch string }

// recent is how many nights back Durations looks: a pair may be tested once a
// week only.
const recent = 8

// Durations tells how many seconds each pair took in the last night that
// tested it: the sum over its scenarios of the longest run.
func (h *History) Durations(ctx context.Context) (map[Pair]float64, error) {
	nights, err := h.Nights(ctx, recent)
	if err != nil {
		return nil, err
	}
	took := map[Pair]float64{}
	for _, n := range nights { // the oldest first: a later night replaces it
		longest := map[cell]float64{}
		err := h.heatOf(ctx, n, func(c cell, hc HeatCell) { longest[c] = max(longest[c], hc.Seconds) })
		if err != nil {
			return nil, err
		}
		sums := map[Pair]float64{}
		for c, s := range longest {
			sums[Pair{c.Line, c.Arch}] += s
		}
		for p, s := range sums {
			took[p] = s
		}
	}
	return took, nil
}

// Took is what a kernel took, as --kernel names it: "7" is the newest line of
// those that begin so.
func Took(took map[Pair]float64, kernel, arch string) float64 {
	release := kernel[strings.LastIndexByte(kernel, ':')+1:] // "debian:6.12" is of line 6.12 as well
	line := Line(release)
	if s, ok := took[Pair{line, arch}]; ok {
		return s
	}
	newest := Pair{Arch: arch}
	for p := range took {
		if p.Arch == arch && strings.HasPrefix(p.Line, line+".") && versionKey(p.Line) > versionKey(newest.Line) {
			newest = p
		}
	}
	return took[newest]
}
