package history

import (
	"context"
	"errors"
	"fmt"
)

// ErrKernel says that a name is no kernel release.
var ErrKernel = errors.New("no kernel release")

// New lists what was first seen after the night of that label; "" is the night
// before the last, so that it lists what is new since last night. A leak that
// was fixed and came back is not new; Leaks lists it as a regression.
func (h *History) New(ctx context.Context, label string, q Query) ([]Leak, error) {
	at, err := h.nightBefore(ctx, label)
	if err != nil {
		return nil, err
	}
	return h.filter(ctx, q, func(l Leak) bool { return l.First.nightAt > at })
}

// nightBefore is when that night began. Without a label, where there is but
// one night, everything is new.
func (h *History) nightBefore(ctx context.Context, label string) (int64, error) {
	if label == "" {
		last, err := h.Nights(ctx, 2)
		if err != nil || len(last) == 0 {
			return 0, errors.Join(err, emptyIf(err == nil))
		}
		if len(last) == 1 {
			return 0, nil
		}
		return last[0].at, nil
	}
	n, err := h.night(ctx, label)
	return n.at, err
}

func emptyIf(empty bool) error {
	if empty {
		return fmt.Errorf("%w: it is empty", ErrNoNight)
	}
	return nil
}

// NewSinceKernel lists the leaks that newer kernels show, and that no kernel
// up to this release has shown in the same scenario.
func (h *History) NewSinceKernel(ctx context.Context, release string, q Query) ([]Leak, error) {
	key := versionKey(release)
	if key == 0 {
		return nil, fmt.Errorf("%q: %w", release, ErrKernel)
	}
	return h.filter(ctx, q, func(l Leak) bool { return l.oldest > key })
}

// InState lists the leaks of these states.
func (h *History) InState(ctx context.Context, q Query, states ...State) ([]Leak, error) {
	return h.filter(ctx, q, func(l Leak) bool {
		for _, s := range states {
			if l.State == s {
				return true
			}
		}
		return false
	})
}

func (h *History) filter(ctx context.Context, q Query, keep func(Leak) bool) ([]Leak, error) {
	leaks, err := h.Leaks(ctx, q)
	kept := []Leak{}
	for _, l := range leaks {
		if keep(l) {
			kept = append(kept, l)
		}
	}
	return kept, err
}
