package cli

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/kernels"
)

// shellWords are a command line as a shell reads it.
func shellWords(t *testing.T, line string) []string {
	t.Helper()
	out, err := exec.Command("sh", "-c", `for word in `+line+`; do printf '%s\n' "$word"; done`).Output()
	require.NoError(t, err)
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
}

// The command that the error names is one that the command takes, and it builds
// the kernel that was asked for.
func TestCureOfAKernelThatIsNotBuilt(t *testing.T) {
	needTools(t)
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	for _, source := range []string{"6.12", "debian:6.12", "http://host/linux-6.12.1.tar.xz#sha256=" + strings.Repeat("0", 64)} {
		want := kernels.Spec{Source: source, Arch: hostArch()}
		_, err := new(kernels.Builder).Path(t.Context(), want)
		require.Error(t, err)
		_, cure, found := strings.Cut(err.Error(), "is not built: ")
		require.True(t, found, "%v", err)
		words := shellWords(t, cure)
		require.Equal(t, "kmemgate", words[0])
		c, rest, err := newRoot().Find(words[1:])
		require.NoError(t, err)
		require.Equal(t, "kmemgate kernel build", c.CommandPath())
		require.NoError(t, c.ParseFlags(rest))
		require.NoError(t, c.ValidateArgs(c.Flags().Args()))
		specs, err := kernelSpecs(c.Flags().Args(), nil, "")
		require.NoError(t, err)
		require.Equal(t, []kernels.Spec{want}, specs)
	}
}
