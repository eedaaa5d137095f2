package kernels

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Real lines of kbuild, 6.12.
func TestProgressCountsObjects(t *testing.T) {
	p := newProgress(&Builder{}, "kernel", 0, false, 3)
	for line := range strings.SplitSeq(`  HOSTCC  scripts/basic/fixdep
  CC      mm/kmemleak.o
  AS      arch/x86/lib/memset_64.o
  CC [M]  samples/kmemleak/kmemleak-test.o
  AR      mm/built-in.a
  LD [M]  samples/kmemleak/kmemleak-test.ko
  GEN     Makefile
make[1]: Entering directory '/x.o'
mm/kmemleak.c:1:1: warning: in mm/kmemleak.o`, "\n") {
		p.line(line)
	}
	require.Equal(t, 6, p.count())
}

func TestProgressStatus(t *testing.T) {
	start := time.Unix(0, 0)
	p := &progress{what: "kernel 6.12.7 x86_64", expected: 850, start: start, first: 100, done: 350}
	require.Equal(t, "kernel 6.12.7 x86_64: 350 of about 850 objects after 1m0s, about 2m0s left", p.status(start.Add(time.Minute)))
	p.sure = true
	require.Contains(t, p.status(start.Add(time.Minute)), "350 of 850 objects")
	p.done = 900
	require.NotContains(t, p.status(start.Add(time.Minute)), "left", "more than expected: nothing is known")
	p.expected = 0
	require.Contains(t, p.status(start.Add(time.Minute)), "not known yet")
}

func TestProgressIsALineNowAndThen(t *testing.T) {
	b, log := testBuilder(t)
	p := newProgress(b, "kernel", 10, false, 0)
	p.every = time.Hour
	p.line("  CC      a.o")
	require.Empty(t, log.String())
	p.every = 0
	p.line("  CC      b.o")
	require.Equal(t, 1, strings.Count(log.String(), "\n"), log.String())
	require.Contains(t, log.String(), "2 of about 10 objects")
}

func TestNextBuildKnowsHowMuchThereIs(t *testing.T) {
	needTools(t)
	b, _ := testBuilder(t)
	dir := fakeKernel(t, t.TempDir(), "6.12.7")
	spec := Spec{Source: dir, Arch: hostArch(t)}
	chain, err := findToolchain(t.Context(), spec.Arch, false)
	require.NoError(t, err)
	expected := func() (int, bool) {
		src, err := b.resolve(t.Context(), dir)
		require.NoError(t, err)
		kb, err := b.plan(chain, src, spec)
		require.NoError(t, err)
		return kb.expected()
	}
	n, sure := expected()
	require.Equal(t, archs[spec.Arch].objects, n, "before the first build: a guess")
	require.False(t, sure)
	_, err = b.Kernel(t.Context(), spec)
	require.NoError(t, err)
	n, sure = expected()
	require.Equal(t, 3, n)
	require.True(t, sure)
}
