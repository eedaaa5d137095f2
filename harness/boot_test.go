package harness

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestBoot runs the kernel's own leaking module, cold, on each architecture.
func TestBoot(t *testing.T) {
	for arch := range arches {
		t.Run(arch, func(t *testing.T) {
			m := testMachine(t, arch)
			h := &Host{Temp: t.TempDir()}
			out := t.TempDir()
			c, err := h.Boot(t.Context(), m, canaryJob(t, m), RunOptions{OutDir: out})
			require.NoError(t, err)
			t.Log(c.Timings)
			require.Empty(t, c.Reason, c.Detail)
		})
	}
}
