package harness

import (
	"os"
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/reports"
)

// mostMemory bounds what QEMU takes of the host, in kB, for a guest of 128 MB.
const mostMemory = 400_000

// TestBoot runs the kernel's own leaking module, cold, on each architecture.
func TestBoot(t *testing.T) {
	for arch := range arches {
		t.Run(arch, func(t *testing.T) {
			m := testMachine(t, arch)
			h := &Host{Temp: t.TempDir()}
			out := t.TempDir()
			peak := 0
			c, err := h.Boot(t.Context(), m, canaryJob(t, m), RunOptions{OutDir: out, ReadMemory: func(*reports.Capture) []reports.Region {
				peak = peakMemory(t, h.Temp) // all is said, and QEMU is still there
				return nil
			}})
			require.NoError(t, err)
			t.Log(c.Timings)
			require.Empty(t, c.Reason, c.Detail)
			t.Logf("peak memory of QEMU: %d MB", peak/1000)
			assert.Positive(t, peak)
			assert.Less(t, peak, mostMemory)
		})
	}
}

// peakMemory is the most that the one QEMU below dir ever had in RAM, in kB.
func peakMemory(t testing.TB, dir string) int {
	peak, _ := qemuMemory(t, dir)
	return peak
}

// qemuMemory is, in kB, the most that the one QEMU below dir ever had in RAM, pages
// of files that others map as well included, and what it has now with its share of
// those (proc_pid_status(5), proc_pid_smaps(5)).
//
// Example: VmHWM:	  181264 kB
// Example: Pss:              112733 kB
func qemuMemory(t testing.TB, dir string) (peak, proportional int) {
	pids := qemusIn(t, dir)
	if !assert.Len(t, pids, 1) {
		return 0, 0
	}
	field := func(file, name string) int {
		text, err := os.ReadFile("/proc/" + pids[0] + "/" + file)
		assert.NoError(t, err)
		m := regexp.MustCompile(`(?m)^` + name + `:\s+(\d+) kB$`).FindSubmatch(text)
		if !assert.NotNil(t, m, name) {
			return 0
		}
		kb, err := strconv.Atoi(string(m[1]))
		assert.NoError(t, err)
		return kb
	}
	return field("status", "VmHWM"), field("smaps_rollup", "Pss")
}
