package kernels

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"syscall"
)

// Fault says whose fault an error is.
type Fault string

// The faults. The command exits 2 for FaultUsage and 3, no verdict, for the others.
const (
	FaultUsage  Fault = "usage"  // the arguments and files alone prove it
	FaultHost   Fault = "host"   // this machine lacks something: network, disk, compiler
	FaultDriver Fault = "driver" // the module under test does not build
	FaultKernel Fault = "kernel" // the kernel's source or configuration does not build
)

// Error is an error with its culprit and, where there is one, its cure.
type Error struct {
	Fault Fault
	Err   error
	// Cure is what the user can do, e.g. a command to type. Where it is empty
	// and the host at fault, it is CureFor's.
	Cure string
	// Log is the file that holds all that a build printed; may be empty.
	Log string

	proven bool // a driver's and a kernel's contents alone make it: see refusal
}

// Error is one line: "host: what went wrong: what cures it". A usage error has no prefix.
func (e *Error) Error() string {
	s := e.Err.Error()
	if e.Fault != FaultUsage {
		s = string(e.Fault) + ": " + s
	}
	cure := e.Cure
	if cure == "" && e.Fault == FaultHost {
		cure = CureFor(e.Err)
	}
	if cure != "" {
		s += ": " + cure
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// IsUsage reports whether err is proven by the arguments and files alone.
func IsUsage(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Fault == FaultUsage
}

// cureDisk is what to do against a full disk.
const cureDisk = "free some space, or type `kmemgate cache prune`"

// hostErr wraps an error of this machine; a full disk comes with its cure.
func hostErr(err error, format string, args ...any) error {
	var known *Error
	if errors.As(err, &known) {
		return err
	}
	e := &Error{Fault: FaultHost, Err: fmt.Errorf(format+": %w", append(args, err)...)}
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		e.Cure = cureDisk
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EROFS):
		e.Cure = "set XDG_CACHE_HOME to a directory that can be written to"
	}
	return e
}

// CureFor is what to do about an error of this machine that came without a cure:
// the system's own reason tells. It is empty where err names a cure already, and
// where somebody interrupted.
func CureFor(err error) string {
	var told *Error
	switch {
	case errors.As(err, &told), errors.Is(err, context.Canceled):
		return ""
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return cureDisk
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EROFS):
		return "the folders of --out, TMPDIR and XDG_CACHE_HOME must be ones that can be written to"
	case errors.Is(err, syscall.ENOMEM), errors.Is(err, syscall.EAGAIN):
		return "free some memory, or type --jobs 1"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return "more files must be open at once: ulimit -n 4096"
	}
	return "run again; if it stays, `kmemgate doctor` tells what this machine lacks"
}

// usageErr is an error that the arguments and files alone prove.
func usageErr(cure, format string, args ...any) error {
	return &Error{Fault: FaultUsage, Err: fmt.Errorf(format, args...), Cure: cure}
}

// compilerDied matches what gcc, clang and make say of a compiler that a signal
// ended. Neither the driver nor the kernel can do that.
// Example: gcc: fatal error: Killed signal terminated program cc1
// Example: make[3]: *** [scripts/Makefile.build:234: /d/note.o] Error 139
var compilerDied = regexp.MustCompile(`internal compiler error|signal terminated program|compiler command failed due to signal|\*\*\* \[.*\.o\] (Error 1(34|37|39)\b|Segmentation fault|Killed|Aborted)`)

// buildErr wraps the error of a command. A full disk is the host's fault,
// whatever the command was about.
func buildErr(err error, fault Fault, what string) error {
	e := &Error{Fault: fault, Err: fmt.Errorf("%s: %w", what, err)}
	var c *CommandError
	if errors.As(err, &c) {
		e.Log = c.LogFile
	}
	if compilerDied.MatchString(err.Error()) {
		e.Fault, e.Cure = FaultHost, "the compiler was ended by a signal: run again; if it happens again, this machine lacks memory, or its compiler is broken"
	}
	if strings.Contains(err.Error(), "No space left on device") || errors.Is(err, syscall.ENOSPC) {
		e.Fault, e.Cure = FaultHost, cureDisk
	}
	return e
}
