package kernels

import (
	"errors"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// refusedTwice builds a driver that the kernel cannot serve, twice, and tells
// whether the second time anything was built: what a test writes into the log
// does not outlive a build.
func refusedTwice(t *testing.T, b *Builder, k *Kernel, dir string) (first, second error, builtAgain bool) {
	t.Helper()
	const mark = "# not built again\n"
	_, first = b.Driver(t.Context(), k, dir, ModuleOptions{})
	require.Error(t, first)
	log := logOf(t, first)
	require.NoError(t, os.WriteFile(log, []byte(mark), 0o644))
	_, second = b.Driver(t.Context(), k, dir, ModuleOptions{})
	require.Error(t, second)
	text, err := os.ReadFile(log)
	require.NoError(t, err)
	return first, second, string(text) != mark
}

func logOf(t *testing.T, err error) string {
	t.Helper()
	var e *Error
	require.True(t, errors.As(err, &e) && e.Log != "", "%v names no log", err)
	return e.Log
}

const refusedDriver = "int use(void) { return k_gone(); }\n"

func TestRefusalIsKept(t *testing.T) {
	needTools(t)
	b, _ := testBuilder(t)
	k := base(t, b, Spec{Source: growingKernel(t), Arch: hostArch(t)})
	dir := driver(t, map[string]string{"Makefile": "obj-m += m.o\n", "m.c": refusedDriver})
	first, second, again := refusedTwice(t, b, k, dir)
	require.ErrorContains(t, first, "k_gone: this kernel's source has no such thing")
	require.Equal(t, first.Error(), second.Error())
	require.False(t, again)

	require.NoError(t, os.Remove(logOf(t, second)))
	_, err := b.Driver(t.Context(), k, dir, ModuleOptions{})
	require.EqualError(t, err, first.Error())
	require.FileExists(t, logOf(t, second), "the log that the error names is made again")

	write(t, dir, "m.c", fakeModule("m", "6.12.7", ""))
	d, err := b.Driver(t.Context(), k, dir, ModuleOptions{})
	require.NoError(t, err, "another content is another driver")
	require.Equal(t, "m", names(d.Modules))
}

// What may end otherwise the next time is tried again: a build that runs the
// driver's own programs, and an error that the kernel's source does not explain.
func TestOtherFailuresAreNotKept(t *testing.T) {
	needTools(t)
	b, _ := testBuilder(t)
	k := base(t, b, Spec{Source: growingKernel(t), Arch: hostArch(t)})
	for name, files := range map[string]map[string]string{
		"a Makefile that runs a program": {"Makefile": "x := $(shell true)\nobj-m += m.o\n", "m.c": refusedDriver},
		"a mistake in C":                 {"Makefile": "obj-m += m.o\n", "m.c": "int use(void) { return }\n"},
	} {
		_, _, again := refusedTwice(t, b, k, driver(t, files))
		require.True(t, again, name)
	}
}
