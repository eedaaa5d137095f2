package harness

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The default line is part of every template's key: a change makes all of them
// anew.
func TestKernelArgs(t *testing.T) {
	f, err := facts("x86_64")
	require.NoError(t, err)
	args := func(cmdline string) string { return plan{Machine: Machine{Cmdline: cmdline}, facts: f}.kernelArgs() }
	const after = "no_hash_pointers nokaslr init_on_alloc=1 slub_debug=F panic=-1 unknown_nmi_panic"
	require.Equal(t, "console=ttyS0 kmemleak=on "+after, args(""))
	require.Equal(t, "console=ttyS0 kmemleak=on "+after+" quiet debugfs=off", args(" quiet  debugfs=off"))
	require.Equal(t, "console=ttyS0 "+after+" kmemleak=off", args("kmemleak=off"))
	require.Equal(t, "console=ttyS0 "+after, args("kmemleak="))
}
