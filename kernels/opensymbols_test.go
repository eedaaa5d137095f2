package kernels

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// What objects leave open is all that they want and nobody has: modpost would
// tell of ten of them.
func TestOpenSymbols(t *testing.T) {
	needTools(t)
	work := t.TempDir()
	write(t, work, "a.c", "int k_have(void), k_b(void), k_open(void), k_less(void) __attribute__((weak)); extern int k_data;\nint k_a(void) { return k_have() + k_b() + k_open() + k_data + (k_less ? k_less() : 0); }\n")
	write(t, work, "b.c", "int k_a(void), k_other(void); static int own(void) { return k_a(); }\nint k_b(void) { return own() + k_other(); }\n")
	for _, name := range []string{"a", "b"} {
		out, err := exec.Command("gcc", "-fno-pic", "-c", "-o", filepath.Join(work, name+".o"), filepath.Join(work, name+".c")).CombinedOutput()
		require.NoError(t, err, string(out))
	}
	write(t, work, "half.o", "\x7fELF")
	build := t.TempDir()
	r := &driverRun{externalBuild: &externalBuild{moduleBuild: &moduleBuild{k: &Kernel{Build: build}}}, done: &partsDone{}, work: work}
	require.Empty(t, r.open(), "a kernel that does not say what it exports")
	write(t, build, symversFile, "0x0\tk_have\tvmlinux\tEXPORT_SYMBOL\t\n")
	require.Equal(t, []string{"k_data", "k_open", "k_other"}, r.open())
}

// Of what is open, the kernel's own is looked for; the rest is no reason to give up.
func TestFindMaybe(t *testing.T) {
	added, unresolved, err := newFinder(t, "").find(needs{symbols: []string{"i2c_more"}, maybe: []string{"_GLOBAL_OFFSET_TABLE_", "video_register"}})
	require.NoError(t, err)
	require.Empty(t, unresolved)
	require.Len(t, added, 2)
	require.Equal(t, "video_register is in drivers/media/core/dev.c", added[1].Why)
}
