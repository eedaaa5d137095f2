package harness

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/kmemgate/kmemgate/initramfs"
	"github.com/kmemgate/kmemgate/kernels"
	"github.com/kmemgate/kmemgate/reports"
	"github.com/kmemgate/kmemgate/scenarios"
)

// BenchmarkVerdict measures, for one kernel and module (kmemleak-test), the ways
// to a verdict: the plain one that projects have written by hand, a boot in
// warped time, and clones of a template, one, two and four at once. Each is the
// whole of it, from the start of QEMU to the leaks' names. Then it measures what
// the clones are made of, and forty runs of other modules. The table at the end
// holds medians and how many times as fast as the plain way each is.
//
//	make bench
func BenchmarkVerdict(b *testing.B) {
	for _, arch := range []string{"x86_64", "arm64"} {
		b.Run(arch, func(b *testing.B) { benchmarkVerdict(b, arch) })
	}
}

// way is a way to a verdict, or to several at once.
type way struct {
	name string
	of   int // verdicts
	run  func() error
}

func benchmarkVerdict(b *testing.B, arch string) {
	g, c := benchGate(b, arch)
	m, err := g.machine(b.Context(), c)
	require.NoError(b, err)
	job, _, err := c.jobs()
	require.NoError(b, err)
	clone := func() error { return g.verdictOf(b.Context(), c) }
	ways := []way{
		{"plain", 1, func() error { return plainWay(b, g, m) }},
		{"warped", 1, func() error {
			capture, err := g.Host.Boot(b.Context(), m, job.region, RunOptions{})
			return endedWell(capture, err)
		}},
		{"clone", 1, clone},
	}
	for _, n := range []int{2, 4} {
		ways = append(ways, way{fmt.Sprintf("%d clones", n), n, func() error { return g.sideBySide(b.Context(), c, n) }})
	}
	require.NoError(b, clone()) // the template and the control run are made
	took := map[string]float64{}
	for _, w := range ways {
		b.Run(strings.ReplaceAll(w.name, " ", ""), func(b *testing.B) { took[w.name] = w.measure(b) })
	}
	var table strings.Builder
	for _, w := range ways {
		if s := took[w.name]; s > 0 {
			each := s / float64(w.of)
			fmt.Fprintf(&table, "\n%-8s %6.2f s to its end, a verdict every %5.2f s  %5.1f times the plain way", w.name, s, each, took["plain"]/each)
		}
	}
	t, err := g.Host.Template(b.Context(), m)
	require.NoError(b, err)
	fmt.Fprintf(&table, "\ntemplate made in %.1f s, %.0f MB on disk", t.info.Seconds, float64(t.info.Bytes)/1e6)
	b.Run("anatomy", func(b *testing.B) { table.WriteString(anatomy(b, t, job.region)) })
	b.Run("mixed", func(b *testing.B) { table.WriteString(mixed(b, g, c)) })
	// Not b.Logf, which shows nothing of a benchmark that is made of others.
	fmt.Fprintf(os.Stdout, "%s%s\n\n", arch, table.String())
}

// measure is the median of what the way takes.
func (w way) measure(b *testing.B) float64 {
	var took []float64
	for b.Loop() {
		begin := time.Now()
		require.NoError(b, w.run())
		took = append(took, time.Since(begin).Seconds())
	}
	b.ReportMetric(median(took)/float64(w.of), "s/verdict")
	return median(took)
}

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

// sideBySide runs a cell n times at once.
func (g *Gate) sideBySide(ctx context.Context, c cell, n int) error {
	var group errgroup.Group
	for i := range n {
		s := *c.scenario
		s.Name = fmt.Sprintf("%s-%d", s.Name, i) // a folder of its own
		other := c
		other.scenario = &s
		group.Go(func() error { return g.verdictOf(ctx, other) })
	}
	return group.Wait()
}

// verdictOf runs a cell to its verdict, which must be the leaks that it has.
func (g *Gate) verdictOf(ctx context.Context, c cell) error {
	run, err := g.judge(ctx, c)
	if err == nil && run.Verdict != reports.Leaks {
		err = fmt.Errorf("verdict %s: %s %s", run.Verdict, run.Reason, run.Detail)
	}
	return err
}

func endedWell(c *reports.Capture, err error) error {
	if err == nil && c.Reason != "" {
		err = fmt.Errorf("%s: %s", c.Reason, c.Detail)
	}
	return err
}

// benchGate is a gate with templates of its own, and kmemleak-test ready to run.
func benchGate(b *testing.B, arch string) (*Gate, cell) {
	b.Helper()
	g := &Gate{
		Builder: &kernels.Builder{},
		Host:    &Host{Temp: b.TempDir(), Cache: &kernels.Cache{Dir: b.TempDir()}, Jobs: 4},
		Out:     b.TempDir(),
	}
	b.Cleanup(g.Close)
	if _, err := exec.LookPath(arches[arch].program); err != nil {
		b.Fatalf("no QEMU: %v", err)
	}
	if _, err := g.Builder.Path(b.Context(), kernels.Spec{Source: "6.12", Arch: arch}); err != nil {
		b.Fatal(err) // a bench that measured nothing is not green
	}
	s, err := scenarios.Load("../scenarios/kmemleak-test")
	require.NoError(b, err)
	c, err := g.buildCell(b.Context(), s, "6.12", arch)
	require.NoError(b, err)
	require.Nil(b, c.failure)
	return g, c
}

// plainScript is the loop that is found in the field, as the guest's init: wait
// out the age twice, clear, load, unload, wait again, read.
const plainScript = `#!/bin/sh
export PATH=/bbin
mkdir -p /proc /sys
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t debugfs debugfs /sys/kernel/debug
leak=/sys/kernel/debug/kmemleak
echo scan > $leak; sleep 5; echo scan > $leak; echo clear > $leak
insmod /lib/kmemgate/kmemleak-test.ko
rmmod kmemleak_test
echo scan > $leak; sleep 5; echo scan > $leak
cat $leak
echo b > /proc/sysrq-trigger
`

// plainWay is what kmemgate is measured against: the same kernel and module,
// booted in real time with a shell script for an init.
func plainWay(b *testing.B, g *Gate, m Machine) error {
	dir, err := os.MkdirTemp(g.Host.Temp, "plain")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var init bytes.Buffer
	if err := initramfs.Archive(&init, []initramfs.File{{Name: "init", Mode: 0o755, Content: []byte(plainScript)}}); err != nil {
		return err
	}
	script, initrd := filepath.Join(dir, "init.cpio"), filepath.Join(dir, "initrd")
	if err := os.WriteFile(script, init.Bytes(), 0o644); err != nil {
		return err
	}
	if err := concatenate(initrd, append(slices.Clone(m.Initrd), script)); err != nil { // the last /init wins
		return err
	}
	f := arches[m.Kernel.Arch]
	ctx, cancel := context.WithTimeout(b.Context(), 5*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, f.program, "-M", f.machine, "-cpu", f.cpu, "-m", defaultMemory,
		"-accel", "tcg", "-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot",
		"-kernel", m.Kernel.Image, "-initrd", initrd, "-append", "panic=-1 kmemleak=on console="+f.console).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w", f.program, err)
	}
	if n := bytes.Count(out, []byte("unreferenced object")); n == 0 {
		return fmt.Errorf("the plain way found nothing:\n%s", out[max(0, len(out)-2000):])
	}
	return nil
}
