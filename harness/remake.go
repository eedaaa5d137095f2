package harness

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/kmemgate/kmemgate/reports"
)

// restoreError is QEMU's refusal of a template's state, or a state that is gone.
type restoreError struct{ error }

func (e restoreError) Unwrap() error { return e.error }

// runAnew is for a template of which there was no clone. One that cannot be
// restored is made again, once: a state that a disk or a QEMU spoilt would else
// have every later run boot cold.
func (t *Template) runAnew(ctx context.Context, job []byte, opt RunOptions, why error) (*reports.Capture, error) {
	fresh, err := t.host.remake(ctx, t, why)
	if err != nil {
		return t.runCold(ctx, job, opt, "the template could not be restored: "+err.Error())
	}
	return fresh.Run(ctx, job, opt)
}

// remake replaces a template that cannot be restored, in the cache as well. Whoever
// comes second gets what the first one made, also where that took the files from
// under this one's clone. The error is why there is none.
func (h *Host) remake(ctx context.Context, bad *Template, why error) (*Template, error) {
	slot := h.slot(bad.key)
	if err := slot.enter(ctx); err != nil {
		return nil, err
	}
	defer slot.exit()
	if now := h.held(bad.key); now != nil && now != bad {
		return now, nil
	}
	if !errors.As(why, new(restoreError)) || bad.remade {
		return nil, why
	}
	h.logf("template: %v: making it again", why)
	// Without this file the cache takes the entry for damaged, whoever asks next.
	if err := os.Remove(filepath.Join(bad.dir, fileTemplate)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w; %w", why, err)
	}
	bad.release()
	fresh := &Template{host: h, machine: bad.machine, plan: bad.plan, note: bad.note, key: bad.key, remade: true}
	if err := h.take(ctx, fresh); err != nil {
		return nil, fmt.Errorf("%w; nor made again: %w", why, err)
	}
	return fresh, nil
}
