package scenarios

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// kernelPattern is a release's first numbers, with or without a comparison.
var kernelPattern = regexp.MustCompile(`^(<|<=|>|>=|)([0-9]{1,4}(?:\.[0-9]{1,4}){0,2})$`)

func validKernelPattern(text string) bool { return kernelPattern.MatchString(text) }

// MatchKernel tells whether a release string such as "6.12.117" is one that
// the pattern means: "6.12" and "6" mean the series, "6.12.117" the release,
// and "<6.6", "<=6.6", ">6.6", ">=6.6" compare as many numbers as they give
// (6.6.9 is neither "<6.6" nor ">6.6").
func MatchKernel(pattern, release string) bool {
	m := kernelPattern.FindStringSubmatch(pattern)
	if m == nil {
		return false
	}
	want := numbers(m[2])
	order := slices.Compare(firstN(numbers(release), len(want)), want)
	switch m[1] {
	case "<":
		return order < 0
	case "<=":
		return order <= 0
	case ">":
		return order > 0
	case ">=":
		return order >= 0
	}
	return order == 0
}

// MatchAny is MatchKernel over a list; an empty list means all kernels.
func MatchAny(patterns []string, release string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p string) bool {
		return MatchKernel(p, release)
	})
}

// numbers gives the leading numbers of a release: 7.3.4-1~bpo13 is 7, 3, 4.
func numbers(release string) []int {
	var out []int
	for _, part := range strings.Split(release, ".") {
		digits := part[:len(part)-len(strings.TrimLeft(part, "0123456789"))]
		n, err := strconv.Atoi(digits)
		if err != nil {
			break
		}
		if out = append(out, n); digits != part {
			break
		}
	}
	return out
}

// firstN cuts a release to n numbers, or fills it up with zeros: 6.12 is 6.12.0.
func firstN(list []int, n int) []int {
	out := make([]int, n)
	copy(out, list)
	return out
}

// ExpectFor gives the first expectation that is meant for this kernel's release
// and architecture; false where there is none.
func (s *Scenario) ExpectFor(release, arch string) (Expectation, bool) {
	i := slices.IndexFunc(s.Expect, func(e Expectation) bool {
		return MatchAny(e.Kernels, release) &&
			(len(e.Arches) == 0 || slices.Contains(e.Arches, arch))
	})
	if i < 0 {
		return Expectation{}, false
	}
	return s.Expect[i].onArch(release, arch), true
}

// smallestBucket is that of kmalloc on arm64 before 6.5 (ARCH_KMALLOC_MINALIGN,
// arch/arm64/include/asm/cache.h).
const smallestBucket = 128

// onArch is the expectation with the sizes that kmalloc's objects have there.
func (e Expectation) onArch(release, arch string) Expectation {
	coarse := arch == "arm64" && MatchKernel("<6.5", release)
	e.Leaks = slices.Clone(e.Leaks)
	for i, l := range e.Leaks {
		if e.Leaks[i].Size = max(l.Size, l.Kmalloc); coarse && l.Kmalloc > 0 {
			e.Leaks[i].Size = max(l.Kmalloc, smallestBucket)
		}
	}
	return e
}
