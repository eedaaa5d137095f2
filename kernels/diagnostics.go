package kernels

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// CompileError is what compiler and modpost said of a driver, each message
// once, with paths relative to the driver's directory.
type CompileError struct {
	// Messages are the errors, the first one first.
	Messages []string
	// Undefined are the symbols that modpost missed: the kernel lacks an
	// option, or the driver is for another kernel.
	Undefined []string
	// Open are those that the objects of a probe leave open: modpost tells of ten.
	Open []string
	// Implicit are functions and types that no header declared.
	Implicit []string
	// Elsewhere are symbols that other parts of the driver export, and which
	// part: nothing that the kernel lacks.
	Elsewhere map[string]string
	// Beside are missing symbols that a directory of the driver's exports which is
	// not built, and which: where the kernel has them not, that one is meant.
	Beside map[string]string
	// Asked are options of the kernel, without CONFIG_, that the driver's Makefile
	// stops without.
	Asked []string
	Log   string // all that make printed
	Err   error
}

// Error is the first message and how many more there are.
func (e *CompileError) Error() string {
	if len(e.Messages) == 0 {
		return e.Err.Error()
	}
	s := e.Messages[0]
	if more := len(e.Messages) - 1; more > 0 {
		s += fmt.Sprintf(" (and %d more)", more)
	}
	if e.Log != "" {
		s += " (log: " + e.Log + ")"
	}
	return s
}

func (e *CompileError) Unwrap() error { return e.Err }

// otherKernel is a message that no option cures: the driver was written for an
// interface that this kernel has in another form.
var otherKernel = regexp.MustCompile(`too (few|many) arguments to function|incompatible pointer type|fatal error: (asm|linux|net|crypto|drm|media|scsi|sound|uapi)/\S+: No such file`)

func (e *CompileError) forAnotherKernel() bool {
	return slices.ContainsFunc(e.Messages, otherKernel.MatchString)
}

// cureOtherKernel is what to do for a driver that is older or newer than the kernel.
const cureOtherKernel = "the driver is written for another kernel: name that one with --kernel"

// diagnostics picks messages out of what make prints.
type diagnostics struct {
	dir  string
	seen map[string]bool
	CompileError
}

// maxMessages bounds what is kept of a driver that fails everywhere.
const maxMessages = 200

func newDiagnostics(dir string) *diagnostics {
	return &diagnostics{dir: dir, seen: map[string]bool{}}
}

var (
	// Example: foo.c:12:2: error: implicit declaration of function 'i2c_add_driver'
	// Example: Makefile:3: *** missing separator.  Stop.
	compilerMessage = regexp.MustCompile(`^(\S+:\d+(:\d+)?: (fatal )?error: .*|ERROR: modpost: .*|.*Makefile:\d+: \*\*\* .*|.*No rule to make target .*|ld(\.lld)?: .*)$`)
	// Kbuild's own account of a failing sub-make says nothing new.
	// Example: make[2]: *** [scripts/Makefile.build:229: /tmp/x/foo.o] Error 1
	makeEcho = regexp.MustCompile(`\] Error \d+$|^make(\[\d+\])?: \*\*\* \[`)
	// Example: vpoll.c:110:44: note: in expansion of macro 'THIS_MODULE'
	expansion = regexp.MustCompile(`^(\S+:\d+:\d+): note: in expansion of macro `)
	// Example: ERROR: modpost: "dm_register_target" [/tmp/x/foo.ko] undefined!
	modpostUndefined = regexp.MustCompile(`^ERROR: modpost: "([^"]+)" \[[^]]*\] undefined!`)
	// Example: implicit declaration of function 'i2c_add_driver'; did you mean …
	implicitDeclaration = regexp.MustCompile(`(?:implicit declaration of function|call to undeclared function) [‘'"]?([A-Za-z0-9_]+)`)
)

func (d *diagnostics) line(text string) {
	text = strings.TrimSpace(relativeTo(d.dir, text))
	if m := expansion.FindStringSubmatch(text); m != nil {
		d.expanded(m[1])
		return
	}
	if makeEcho.MatchString(text) || !compilerMessage.MatchString(text) || d.seen[text] || len(d.Messages) >= maxMessages {
		return
	}
	d.seen[text] = true
	d.Messages = append(d.Messages, text)
	if m := modpostUndefined.FindStringSubmatch(text); m != nil {
		d.Undefined = append(d.Undefined, m[1])
	}
	if m := implicitDeclaration.FindStringSubmatch(text); m != nil {
		d.Implicit = append(d.Implicit, m[1])
	}
}

// expanded moves the last message from a macro in a kernel's header to the line
// of the driver that uses the macro.
func (d *diagnostics) expanded(where string) {
	last := len(d.Messages) - 1
	if last < 0 || !d.inDriver(where) {
		return
	}
	if from, rest, ok := strings.Cut(d.Messages[last], ": "); ok && !d.inDriver(from) {
		d.Messages[last] = where + ": " + rest
	}
}

// inDriver tells whether "vpoll.c:110:44" is in the driver's directory.
func (d *diagnostics) inDriver(where string) bool {
	file, _, _ := strings.Cut(where, ":")
	_, err := os.Stat(filepath.Join(d.dir, file))
	return err == nil && file != ""
}

// explain turns make's exit status into what the compiler said.
func (d *diagnostics) explain(dir string, err error) error {
	failed := d.CompileError
	failed.Err = err
	var c *CommandError
	if errors.As(err, &c) {
		failed.Log = c.LogFile
	}
	built := buildErr(err, FaultDriver, dir)
	var e *Error
	if errors.As(built, &e) && e.Fault == FaultHost {
		return e // a full disk is not the driver's fault
	}
	told := &Error{Fault: FaultDriver, Err: fmt.Errorf("%s: %w", dir, &failed), Log: failed.Log}
	if failed.forAnotherKernel() {
		told.Cure = cureOtherKernel
	}
	return told
}
