package harness

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/kmemgate/kmemgate/kernels"
	"github.com/kmemgate/kmemgate/reports"
)

// HostError is what the host lacks: no verdict on any guest, and no fault of
// the driver's. Cure is a command or a deed that mends it; where it is empty, the
// system's own reason tells one (kernels.CureFor).
type HostError struct {
	Err  error
	Cure string
}

func (e *HostError) Error() string {
	cure := e.Cure
	if cure == "" && !e.told() {
		cure = kernels.CureFor(e.Err)
	}
	if cure == "" {
		return "host: " + e.Err.Error()
	}
	return fmt.Sprintf("host: %v (%s)", e.Err, cure)
}

func (e *HostError) Unwrap() error { return e.Err }

// told tells whether what it wraps names a cure itself.
func (e *HostError) told() bool {
	var inner *HostError
	return errors.As(e.Err, &inner)
}

// cureSpace is what to do against a full disk.
const cureSpace = "free some space, or type `kmemgate cache prune`"

// hostError wraps an error with its cure; that of a full disk is known.
func hostError(cure string, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	if cure == "" && errors.Is(err, syscall.ENOSPC) {
		cure = cureSpace
	}
	return &HostError{Err: err, Cure: cure}
}

// lackOfCell is the outcome of a cell whose run failed for what the host lacks: a
// QEMU for its architecture, memory for one guest more. What the others found is
// not lost by that. It is nil where there is no such error, or where it concerns
// them all: an interrupt, wrong usage, and a full disk, on which no evidence of
// any cell can be kept.
func lackOfCell(ctx context.Context, err error) *failure {
	var host *HostError
	if ctx.Err() != nil || !errors.As(err, &host) || host.Cure == cureSpace || errors.Is(err, syscall.ENOSPC) {
		return nil
	}
	return &failure{reports.None, reports.ReasonHost, strings.TrimPrefix(err.Error(), "host: ")}
}
