package kernels

import (
	"errors"
	"fmt"
	"strings"
)

// miss is a provider that gave no source, and why.
type miss struct {
	provider string
	err      error
}

// unknownError says that a provider answered and has no such kernel.
type unknownError struct {
	series version
	newest version // that it has; nil: not known
	// all says that it has every kernel that was ever released.
	all bool
}

func (e *unknownError) Error() string {
	if e.newest == nil {
		return fmt.Sprintf("has none of %s", e.series)
	}
	return fmt.Sprintf("has none of %s, the newest is %s", e.series, e.newest)
}

// notFound decides whose fault it is that a kernel is not to be had. A name that
// no kernel bears is wrong usage: every provider answered and has none; or one did
// that has them all (kernel.org); or one did, and by its newest kernel there can
// be none of that number yet. Otherwise, and where nobody answered, the kernel may
// well exist behind a provider that could not be reached: the host's fault.
func notFound(name string, want version, missed []miss) error {
	said := make([]string, len(missed))
	every, proven := true, false
	for i, m := range missed {
		said[i] = fmt.Sprintf("%s: %v", m.provider, m.err)
		var none *unknownError
		if !errors.As(m.err, &none) {
			every = false
			continue
		}
		proven = proven || none.all || none.newest != nil && want.beyond(none.newest)
	}
	err := fmt.Errorf("kernel %s: not in the cache, nor to be had (%s)", name, strings.Join(said, "; "))
	if every || proven {
		return &Error{Fault: FaultUsage, Err: err, Cure: "name another version, a tarball's URL with #sha256=…, or a directory"}
	}
	return &Error{Fault: FaultHost, Err: err, Cure: cureNetwork}
}

// mostSeries bounds the second number of a kernel's version: since 3.0 the first
// goes up before the second passes 20 (4.20 was the highest).
const mostSeries = 30

// beyond tells whether there can be no kernel v while newest is the newest that
// a provider has. Providers lag behind by months; the first number goes up once
// in three or four years, so it is ahead by one at most.
func (v version) beyond(newest version) bool {
	return v[0] > newest[0]+1 || v[0] >= 3 && len(v) > 1 && v[1] > mostSeries
}
