package harness

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/kconfig"
	"github.com/kmemgate/kmemgate/kernels"
	"github.com/kmemgate/kmemgate/reports"
)

// dwarfConfig is a kernel with DWARF of its own: make vm builds it.
const dwarfConfig = "testdata/dwarf.config"

// TestKernelWithDWARF gates a leak on the kernel as it is and on one with DWARF.
// There every frame of the kernel's own has the lines that addr2line has, inlined
// callers among them; title and signature are the same on both.
func TestKernelWithDWARF(t *testing.T) {
	gateKernel(t)
	config := dwarfFragment(t)
	kernel := builtKernel(t, kernels.Spec{Source: "6.12", Arch: "x86_64", Config: []kconfig.Fragment{config}})
	vmlinux := kernel.DebugInfo()
	require.NotEmpty(t, vmlinux, "%s has no DWARF", kernel.Build)

	with := leakOn(t, &config)
	bare := leakOn(t, nil)
	assert.Equal(t, bare.Title, with.Title)
	assert.Equal(t, bare.Signature, with.Signature)
	for _, f := range kernelFrames(bare) {
		assert.Zero(t, f.Line, "%s: a base kernel has no DWARF", f.Function)
	}
	assertLines(t, vmlinux, kernelFrames(with))
}

// leakOn gates leak-on-exit and returns its leak.
func leakOn(t *testing.T, config *kconfig.Fragment) reports.Leak {
	t.Helper()
	gate := testGate(t)
	gate.Config = config
	run := gateOnce(t, gate, gateScenario(t, "../scenarios/leak-on-exit"))
	require.Equal(t, reports.Leaks, run.Verdict, "%s %s", run.Reason, run.Detail)
	require.Len(t, run.Leaks, 1)
	return run.Leaks[0]
}

func kernelFrames(l reports.Leak) (own []reports.Frame) {
	for _, f := range l.Frames {
		if f.Module == "" {
			own = append(own, f)
		}
	}
	return own
}

func dwarfFragment(t *testing.T) kconfig.Fragment {
	t.Helper()
	f, err := os.Open(dwarfConfig)
	require.NoError(t, err)
	defer f.Close()
	fragment, err := kconfig.Parse(f, "harness/"+dwarfConfig) // as who builds it calls it
	require.NoError(t, err)
	return fragment
}

// assertLines compares a backtrace of the kernel's own with what addr2line makes
// of the same return addresses. Labels of assembly are no functions, and have none.
func assertLines(t *testing.T, vmlinux string, frames []reports.Frame) {
	t.Helper()
	places := symbolsOf(t, vmlinux)
	var inlined []reports.Frame
	calls := 0
	for _, f := range frames {
		inlined = append(inlined, f)
		if f.Inlined {
			continue
		}
		calls++
		require.Len(t, places[f.Function], 1, f.Function)
		want := addr2line(t, vmlinux, places[f.Function][0]+f.Offset-1)
		if strings.Contains(want[0], ".S:") {
			assert.Zero(t, f.Line, f.Function)
		} else if assert.Len(t, inlined, len(want), "%s: %v", f.Function, want) {
			for i, got := range inlined {
				assert.True(t, got.File != "" && strings.HasSuffix(want[i], fmt.Sprintf("/%s:%d", got.File, got.Line)), "%+v: want %s", got, want[i])
			}
		}
		inlined = nil
	}
	assert.Greater(t, calls, 5, "%v", frames)
}

// symbolsOf are a kernel's functions: a name may be that of several.
func symbolsOf(t *testing.T, vmlinux string) map[string][]uint64 {
	t.Helper()
	f, err := elf.Open(vmlinux)
	require.NoError(t, err)
	defer f.Close()
	list, err := f.Symbols()
	require.NoError(t, err)
	places := map[string][]uint64{}
	for _, s := range list {
		places[s.Name] = append(places[s.Name], s.Value)
	}
	return places
}

// addr2line has the files and lines of an address, the innermost inlined function's
// first.
func addr2line(t *testing.T, vmlinux string, addr uint64) (lines []string) {
	t.Helper()
	out, err := exec.Command("addr2line", "-i", "-e", vmlinux, fmt.Sprintf("0x%x", addr)).Output()
	require.NoError(t, err, "addr2line is of the package binutils")
	for line := range bytes.Lines(out) {
		place, _, _ := strings.Cut(strings.TrimSpace(string(line)), " (discriminator")
		lines = append(lines, place)
	}
	return lines
}
