package harness

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/kernels"
)

// TestTemplate makes a template once and runs clones of it.
func TestTemplate(t *testing.T) {
	for arch := range arches {
		t.Run(arch, func(t *testing.T) {
			m := testMachine(t, arch)
			h := &Host{Temp: t.TempDir(), Cache: &kernels.Cache{Dir: t.TempDir()}, Log: t.Logf}
			defer h.Close()
			begin := time.Now()
			tmpl, err := h.Template(t.Context(), m)
			require.NoError(t, err)
			t.Logf("made in %v: %+v", time.Since(begin), tmpl.info.Bytes)
			require.Empty(t, tmpl.info.Cold)
			job := canaryJob(t, m)
			for range 3 {
				begin := time.Now()
				c, err := tmpl.Run(t.Context(), job, RunOptions{OutDir: t.TempDir()})
				require.NoError(t, err)
				t.Log(time.Since(begin), c.Timings)
				require.Empty(t, c.Reason, c.Detail)
			}
		})
	}
}
