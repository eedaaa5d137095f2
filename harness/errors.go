package harness

import "fmt"

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

// hostError wraps an error with its cure.
func hostError(cure string, format string, args ...any) error {
	return &HostError{Err: fmt.Errorf(format, args...), Cure: cure}
}
