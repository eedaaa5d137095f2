package harness

import (
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/kernels"
)

// childCPU is the processor time of all QEMUs that have ended.
func childCPU(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_CHILDREN, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkClone is the whole run of a clone, kmemleak-test as the module:
// from the job to the capture. cpu-s/op is QEMU's own, which a busy host does
// not change.
func BenchmarkClone(b *testing.B) {
	for _, arch := range []string{"x86_64", "arm64"} {
		b.Run(arch, func(b *testing.B) {
			m := testMachine(b, arch)
			h := &Host{Temp: b.TempDir(), Cache: &kernels.Cache{Dir: b.TempDir()}}
			defer h.Close()
			tmpl, err := h.Template(b.Context(), m)
			require.NoError(b, err)
			job := canaryJob(b, m)
			phases := map[string]float64{}
			cpu := childCPU(b)
			for b.Loop() {
				c, err := tmpl.Run(b.Context(), job, RunOptions{})
				require.NoError(b, err)
				require.Empty(b, c.Reason, c.Detail)
				for name, s := range c.Timings {
					phases[name] += s
				}
			}
			b.ReportMetric((childCPU(b)-cpu).Seconds()/float64(b.N), "cpu-s/op")
			b.ReportMetric(float64(tmpl.info.Bytes)/1e6, "MB")
			for name, s := range phases {
				b.Logf("%-10s %.3f s", name, s/float64(b.N))
			}
		})
	}
}
