package harness

import (
	"errors"
	"fmt"
	"syscall"
)

// HostError is what the host lacks: no verdict on any guest, and no fault of
// the driver's. Cure is a command or a deed that mends it; it may be empty.
type HostError struct {
	Err  error
	Cure string
}

func (e *HostError) Error() string {
	if e.Cure == "" {
		return "host: " + e.Err.Error()
	}
	return fmt.Sprintf("host: %v (%s)", e.Err, e.Cure)
}

func (e *HostError) Unwrap() error { return e.Err }

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
