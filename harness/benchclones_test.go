package harness

import (
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/kmemgate/kmemgate/reports"
	"github.com/kmemgate/kmemgate/scenarios"
)

// anatomy is where a clone's time and memory go: medians of clones that run alone.
func anatomy(b *testing.B, t *Template, job []byte) string {
	var restore, scan, peak, share []float64
	for b.Loop() {
		c, err := t.Run(b.Context(), job, RunOptions{ReadMemory: func(*reports.Capture) []reports.Region {
			resident, proportional := qemuMemory(b, t.host.Temp) // all is said, and QEMU is still there
			peak, share = append(peak, float64(resident)), append(share, float64(proportional))
			return nil
		}})
		require.NoError(b, endedWell(c, err))
		restore = append(restore, c.Timings["start"])
		own := slices.IndexFunc(c.Scans, func(s reports.Scan) bool { return s.Jiffies > c.Canary.End }) // the others are the template's
		scan = append(scan, c.Timings["scan"]/float64(len(c.Scans[own:])))
	}
	return fmt.Sprintf("\na clone is restored in %.2f s, a scan takes %.2f s; QEMU has %.0f MB in memory at most, with its pages of files that others share, %.0f MB with its share of those",
		median(restore), median(scan), median(peak)/1e3, median(share)/1e3)
}

// mixedRuns is how many runs the forty are.
const mixedRuns = 40

// mixed gates other scenarios on the template of a cell, with every core. What their
// control runs come to is kept from the first time on.
func mixed(b *testing.B, g *Gate, c cell) string {
	g.Host.Jobs, g.Host.places = runtime.NumCPU(), nil
	cells := mixedCells(b, g, c)
	var took []float64
	for b.Loop() {
		begin := time.Now()
		var group errgroup.Group
		group.SetLimit(g.jobs())
		for _, c := range cells {
			group.Go(func() error {
				run, err := g.judge(b.Context(), c)
				if err == nil && run.Verdict != reports.Leaks && run.Verdict != reports.Clean {
					err = fmt.Errorf("%s: %s: %s %s", run.Scenario, run.Verdict, run.Reason, run.Detail)
				}
				return err
			})
		}
		require.NoError(b, group.Wait())
		took = append(took, time.Since(begin).Seconds())
	}
	first := took[0]
	return fmt.Sprintf("\n%d runs of as many scenarios through one template, %d at once: %.1f s (the first time, with their control runs, %.1f s)",
		len(cells), g.jobs(), median(took), first)
}

// mixedCells are scenarios of which each comes to a verdict on the template of a
// cell.
func mixedCells(b *testing.B, g *Gate, c cell) (cells []cell) {
	dirs, err := filepath.Glob("../scenarios/*/" + scenarios.FileName)
	require.NoError(b, err)
	for _, dir := range dirs {
		s, err := scenarios.Load(filepath.Dir(dir))
		require.NoError(b, err)
		want, ok := s.ExpectFor(c.kernel.Release, c.arch)
		plain := len(s.Kconfig)+len(s.Devices)+len(s.Cmdline)+len(s.Memory) == 0 && s.Clock != ClockReal && !s.ErrorPaths.Wanted()
		if !ok || !plain || !slices.Contains([]string{string(reports.Leaks), string(reports.Clean)}, want.Verdict) || len(cells) == mixedRuns {
			continue
		}
		other, err := g.buildCell(b.Context(), s, c.source, c.arch)
		require.NoError(b, err)
		if other.failure == nil && other.kernel.Key == c.kernel.Key {
			cells = append(cells, other)
		}
	}
	require.Len(b, cells, mixedRuns)
	return cells
}
