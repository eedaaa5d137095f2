package reports

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// compileKernel links the sources of testdata/symbols as a kernel is linked: an
// executable, at addresses of its own.
func compileKernel(t *testing.T, arch string, flags ...string) string {
	t.Helper()
	object, _ := compileModule(t, arch, flags...)
	path := filepath.Join(t.TempDir(), Vmlinux)
	cmd := exec.Command(tool(t, arch, "ld"), "-e", "second", "-Ttext=0x400000", "--unresolved-symbols=ignore-all", "-o", path, object)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return path
}

// TestKernelFrames: a kernel with DWARF gives its own frames lines and inlined
// callers, by the name that the kernel printed, and no signature changes.
func TestKernelFrames(t *testing.T) {
	for arch := range toolchains {
		t.Run(arch, func(t *testing.T) {
			c := &Capture{Arch: arch, Modules: []Module{{Name: Vmlinux, Path: compileKernel(t, arch)}}}
			s := newSymbolizer(c, newSources(c))
			require.Empty(t, s.warnings)
			bare := newSymbolizer(&Capture{Arch: arch}, newSources(c))
			size := sizesOf(t, s, "driver_init")[0]
			const padding = 12 // kallsyms counts it in
			expanded := map[string]bool{}
			for off := range size {
				f := RawFrame{Symbol: "driver_init", Offset: off + 1, Size: size + padding}
				frames := s.frame(f, &Record{})
				last := frames[len(frames)-1]
				assert.Equal(t, Frame{Function: "driver_init", Offset: off + 1, File: "driver.c", Line: last.Line}, last)
				assert.Positive(t, last.Line)
				if len(frames) == 3 {
					expanded[frameText(frames)[0]+", "+frameText(frames)[1]] = true
				}
				assert.Equal(t, signatureOf(blame(bare.frame(f, &Record{}), nil)), signatureOf(blame(frames, nil)))
			}
			assert.True(t, expanded["inlined_inner sub/helper.h:15 inlined, inlined_outer driver.c:25 inlined"], "%v", expanded)
		})
	}
}

// TestKernelFrameKeepsItsPrintedName: of a clone, DWARF has the name without the
// compiler's suffix.
func TestKernelFrameKeepsItsPrintedName(t *testing.T) {
	c := &Capture{Modules: []Module{{Name: Vmlinux, Path: compileKernel(t, "x86_64")}}}
	s := newSymbolizer(c, newSources(c))
	clones := 0
	for name := range s.modules[Vmlinux].symbols {
		if baseName(name) == name {
			continue
		}
		clones++
		frames := s.frame(RawFrame{Symbol: name, Offset: 1, Size: sizesOf(t, s, name)[0]}, &Record{})
		assert.Equal(t, name, frames[len(frames)-1].Function)
		assert.Positive(t, frames[len(frames)-1].Line)
	}
	assert.Positive(t, clones, "the compiler made a clone of leak_in_worker")
}

// TestKernelFramesOfOneName: two static functions, told apart by their sizes,
// and nothing is guessed where those do not tell.
func TestKernelFramesOfOneName(t *testing.T) {
	c := &Capture{Modules: []Module{{Name: Vmlinux, Path: compileKernel(t, "x86_64", "-fno-ipa-cp", "-fno-ipa-sra")}}}
	s := newSymbolizer(c, newSources(c))
	sizes := sizesOf(t, s, "leak_in_worker")
	require.Len(t, sizes, 2)
	f := RawFrame{Symbol: "leak_in_worker", Offset: 1, Size: max(sizes[0], sizes[1])}
	assert.Equal(t, []Frame{{Function: f.Symbol, Offset: 1}}, s.frame(f, &Record{}), "may be either, with padding")
	f.Size = min(sizes[0], sizes[1])
	assert.Positive(t, s.frame(f, &Record{})[0].Line)
	f.Size = 1
	assert.Equal(t, []Frame{{Function: f.Symbol, Offset: 1}}, s.frame(f, &Record{}), "another build's")
}

// TestKernelThatIsGone: a report is made again without the build tree.
func TestKernelThatIsGone(t *testing.T) {
	c := canaryCapture()
	c.leak(fooLeak(0))
	want := Judge(c, Policy{})
	c.Modules = append(c.Modules, Module{Name: Vmlinux, Path: filepath.Join(t.TempDir(), Vmlinux)})
	got := Judge(c, Policy{})
	assert.Equal(t, want.Leaks, got.Leaks)
	require.Len(t, got.Warnings, len(want.Warnings)+1)
	assert.Contains(t, got.Warnings[len(got.Warnings)-1], "no lines for module vmlinux")
}

func sizesOf(t *testing.T, s *symbolizer, function string) (sizes []uint64) {
	t.Helper()
	m := s.modules[Vmlinux]
	for _, k := range m.symbols[function] {
		sizes = append(sizes, m.funcs[k].size)
	}
	require.NotEmpty(t, sizes)
	return sizes
}
