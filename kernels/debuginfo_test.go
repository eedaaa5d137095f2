package kernels

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDebugInfo(t *testing.T) {
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("gcc is not installed")
	}
	k := &Kernel{Build: t.TempDir()}
	assert.Empty(t, k.DebugInfo(), "no vmlinux")
	vmlinux, source := filepath.Join(k.Build, "vmlinux"), filepath.Join(k.Build, "init.c")
	require.NoError(t, os.WriteFile(source, []byte("void start_kernel(void) { }\n"), 0o644))
	for flag, want := range map[string]string{"-g0": "", "-g": vmlinux} {
		out, err := exec.Command(gcc, flag, "-nostdlib", "-static", "-Wl,-e,start_kernel", "-o", vmlinux, source).CombinedOutput()
		require.NoError(t, err, string(out))
		assert.Equal(t, want, k.DebugInfo(), flag)
	}
}
