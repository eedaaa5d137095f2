package harness

import "fmt"

// UsageError is a mistake that the arguments and the files alone prove: an
// unknown kernel name, a directory with nothing to build. The command exits 2.
type UsageError struct{ err error }

// Usagef makes a UsageError.
func Usagef(format string, args ...any) error {
	return UsageError{fmt.Errorf(format, args...)}
}

func (e UsageError) Error() string { return e.err.Error() }
func (e UsageError) Unwrap() error { return e.err }
