package harness

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/kconfig"
	"github.com/kmemgate/kmemgate/kernels"
	"github.com/kmemgate/kmemgate/reports"
	"github.com/kmemgate/kmemgate/scenarios"
)

// BenchmarkSweep sweeps the modules of sweep.config, and boots a guest of its
// own, with the real clock and without a template, for some of the same modules:
// x-plain is how much longer that would take for all of them, one by one.
//
//	go test -run '^$' -bench Sweep -benchtime 1x ./harness
func BenchmarkSweep(b *testing.B) {
	for _, arch := range []string{"x86_64", "arm64"} {
		b.Run(arch, func(b *testing.B) {
			s := kernelSweep(b, arch)
			var report *reports.Report
			for b.Loop() {
				var err error
				report, err = s.Run(b.Context())
				require.NoError(b, err)
			}
			swept := b.Elapsed().Seconds() / float64(b.N)
			judged := 0
			for _, run := range report.Runs {
				if run.Verdict != reports.Skipped {
					judged++
				}
			}
			plain := plainBoots(b, s, arch, []string{"dummy", "zram"})
			b.ReportMetric(float64(judged), "modules")
			b.ReportMetric(plain, "s/plain-boot")
			b.ReportMetric(plain*float64(judged)/swept, "x-plain")
		})
	}
}

// kernelSweep is a sweep of the kernel that sweep.config makes. It skips where
// that is not built, but never in CI: make vm builds it.
func kernelSweep(t testing.TB, arch string, patterns ...string) *Sweep {
	t.Helper()
	gate := cachedGate(t, "6.12", arch)
	config, err := kconfig.Sweep()
	require.NoError(t, err)
	gate.Config = &config
	if _, err := gate.Builder.Path(t.Context(), kernels.Spec{Source: "6.12", Arch: arch, Config: []kconfig.Fragment{config}}); err != nil {
		skip := t.Skipf
		if os.Getenv("CI") == "true" {
			skip = t.Fatalf
		}
		skip("%v: kmemgate kernel build --config sweep 6.12/%s", err, arch)
	}
	s, err := scenarios.Parse("sweep", nil)
	require.NoError(t, err)
	s.Name, s.Kernels, s.Arches = "sweep", []string{"6.12"}, []string{arch}
	return &Sweep{Gate: gate, Scenario: s, Choice: Choice{Patterns: patterns}}
}

// plainBoots is the mean time of a guest for one module: booted, not cloned, and
// waiting as long as kmemleak wants it to.
func plainBoots(b *testing.B, s *Sweep, arch string, modules []string) float64 {
	b.Helper()
	ctx := b.Context()
	config, err := s.Gate.config(s.Scenario)
	require.NoError(b, err)
	k, err := s.Gate.Builder.Kernel(ctx, kernels.Spec{Source: "6.12", Arch: arch, Config: config})
	require.NoError(b, err)
	c := cell{scenario: s.Scenario, source: "6.12", arch: arch, kernel: k}
	some := *s
	some.Choice.Patterns = modules
	plan, err := some.plan(ctx, c)
	require.NoError(b, err)
	m, err := s.Gate.machine(ctx, c)
	require.NoError(b, err)
	m.Clock, m.SMP = ClockReal, 1
	swept := &sweptKernel{Sweep: s, cell: c}
	begin := time.Now()
	for _, t := range plan.turns {
		region, err := swept.job([]turn{t}).region()
		require.NoError(b, err)
		capture, err := s.Gate.Host.Boot(ctx, m, region, RunOptions{Timeout: 10 * time.Minute}) // a busy host's guest is slow
		require.NoError(b, err)
		require.Empty(b, capture.Reason, capture.Detail)
	}
	return time.Since(begin).Seconds() / float64(len(plan.turns))
}
