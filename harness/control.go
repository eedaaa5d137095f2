package harness

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"

	"github.com/kmemgate/kmemgate/reports"
)

// fileLast is the one file of a control run's cache entry: its last read.
const fileLast = "kmemleak.txt"

// errNotKept says that a control run came to something that the next one need
// not come to: no verdict, or a guest that was no clone where there should be one.
var errNotKept = errors.New("control run: not to be kept")

// RunControl is Run for a job without the module under test. Clones of one
// template with one job print the same to the byte, and so do cold boots of a
// machine that cannot be cloned, so the result is kept in the cache, and of the many
// drivers that ask for the same control run the first one waits for it.
func (t *Template) RunControl(ctx context.Context, job []byte, opt RunOptions) (*reports.Capture, error) {
	if t.failed != nil {
		return t.Run(ctx, job, opt)
	}
	sum := sha256.Sum256(job)
	var made *reports.Capture
	dir, release, err := t.host.cache().Entry(ctx, "controls", t.key+"-"+hex.EncodeToString(sum[:8]), func(ctx context.Context, dir string) error {
		var err error
		if made, err = t.Run(ctx, job, opt); err != nil {
			return err
		}
		if made.Reason != "" || made.Boot != "clone" && t.info.Cold == "" {
			return errNotKept
		}
		return os.WriteFile(filepath.Join(dir, fileLast), made.Last, 0o644)
	})
	if err != nil && !errors.Is(err, errNotKept) {
		return nil, err
	}
	if made != nil {
		if err == nil {
			release()
		}
		return made, nil
	}
	defer release()
	boot := "clone"
	if t.info.Cold != "" {
		boot = "cold"
	}
	c := newCapture(t.plan, boot, t.note)
	if c.Last, err = os.ReadFile(filepath.Join(dir, fileLast)); err != nil {
		return nil, hostError("kmemgate cache prune", "control run: %w", err)
	}
	return c, nil
}
