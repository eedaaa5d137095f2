package harness

import (
	"context"
	"fmt"
	"slices"

	"github.com/kmemgate/kmemgate/scenarios"
)

// KernelList is a list of kernels, as --kernel names them, from one without the
// leak to one with it: versions, packages, tarballs.
type KernelList struct {
	scenario *scenarios.Scenario
	kernels  []string
	outcomes map[string]Outcome
}

// NewKernelList searches the kernels with the driver as it is.
func NewKernelList(s *scenarios.Scenario, kernels []string) (*KernelList, error) {
	for i, k := range kernels {
		if slices.Contains(kernels[:i], k) {
			return nil, Usagef("bisect: --kernel %s is there twice", k)
		}
	}
	if len(kernels) < 2 {
		return nil, Usagef("bisect: %d kernels: name at least a good one and a bad one, in their order", len(kernels))
	}
	return &KernelList{s, kernels, map[string]Outcome{}}, nil
}

// Ends are the first kernel and the last.
func (l *KernelList) Ends() (good, bad string) { return l.kernels[0], l.kernels[len(l.kernels)-1] }

// At is the scenario on that kernel.
func (l *KernelList) At(_ context.Context, version string) (*scenarios.Scenario, error) {
	s := *l.scenario
	s.Kernels = []string{version}
	return &s, nil
}

// Mark chooses, of the kernels that nobody tested, the one next to the middle.
func (l *KernelList) Mark(_ context.Context, version string, o Outcome) (string, error) {
	l.outcomes[version] = o
	good, bad := l.bounds()
	best, distance := "", len(l.kernels)
	for i := good + 1; i < bad; i++ {
		d := 2*i - good - bad
		if d = max(d, -d); l.outcomes[l.kernels[i]] == "" && d < distance {
			best, distance = l.kernels[i], d
		}
	}
	if good < 0 || bad == len(l.kernels) {
		return "", nil // an end is still to be tested
	}
	return best, nil
}

// bounds are the last good kernel before the first bad one, and that one.
func (l *KernelList) bounds() (good, bad int) {
	bad = slices.IndexFunc(l.kernels, func(k string) bool { return l.outcomes[k] == Bad })
	if bad < 0 {
		bad = len(l.kernels)
	}
	good = -1
	for i, k := range l.kernels[:bad] {
		if l.outcomes[k] == Good {
			good = i
		}
	}
	return good, bad
}

// Suspects are the first bad kernel and those before it that gave no verdict.
func (l *KernelList) Suspects(context.Context) ([]string, error) {
	good, bad := l.bounds()
	return l.kernels[good+1 : bad+1], nil
}

// Describe names the kernel and the one before it.
func (l *KernelList) Describe(_ context.Context, version string) string {
	i := slices.Index(l.kernels, version)
	if i < 1 {
		return "kernel " + version
	}
	return fmt.Sprintf("kernel %s\n(the one before it in the list: %s)", version, l.kernels[i-1])
}

// Reproduce is a run's command as it is: it names the kernel.
func (l *KernelList) Reproduce(_, command string) string { return command }
