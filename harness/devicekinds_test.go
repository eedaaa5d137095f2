package harness_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/harness"
	"github.com/kmemgate/kmemgate/reports"
	"github.com/kmemgate/kmemgate/scenarios"
)

// deviceKinds are the drivers of testdata/devices, what each must have bound, and
// what it said of its device, which it has from the device alone.
var deviceKinds = []struct{ name, bound, said string }{
	{"nvme", "dev_nvme:0000:00:", " 2048 entries in a queue"},
	{"usb", "dev_usb:1-", " QEMU USB Keyboard"},
	{"sd", "dev_sd:mmc0:", " QEMU!"},
	{"i2c", "dev_i2c:0-0030", " EDID begins with 00 ff ff ff ff ff ff 00"},
}

// TestDeviceKinds: a device on each bus that devices: knows reaches its driver,
// with nothing of kconfig: said; a driver that forgets what its probe allocated is
// told by the line.
func TestDeviceKinds(t *testing.T) {
	gate := realGate(t)
	for _, arch := range []string{"x86_64", "arm64"} {
		t.Run(arch, func(t *testing.T) {
			needPairs(t, gate, "6.12/"+arch)
			t.Run("clean", func(t *testing.T) {
				run := gateDevices(t, gate, arch, "")
				require.Equal(t, reports.Clean, run.Verdict, "%s: %s", run.Reason, run.Detail)
				assertBound(t, gate, arch, run)
			})
			for _, kind := range kindsOf(arch) {
				t.Run(kind, func(t *testing.T) {
					run := gateDevices(t, gate, arch, kind)
					require.Equal(t, reports.Leaks, run.Verdict, "%s: %s", run.Reason, run.Detail)
					require.Equal(t, []string{allocationOf(t, kind)}, titles(run))
				})
			}
		})
	}
}

// kindsOf are those that an architecture's machine has a bus for.
func kindsOf(arch string) (kinds []string) {
	for _, k := range deviceKinds {
		if k.name != "i2c" || arch == "x86_64" {
			kinds = append(kinds, k.name)
		}
	}
	return kinds
}

// gateDevices loads all of an architecture's drivers, one of which may leak.
func gateDevices(t *testing.T, gate *harness.Gate, arch, leaking string) reports.Run {
	t.Helper()
	s, err := scenarios.Load("testdata/devices")
	require.NoError(t, err)
	s.Build, s.Devices = kindsOf(arch), s.Devices[:len(kindsOf(arch))]
	for _, kind := range kindsOf(arch) {
		m := scenarios.Module{Name: "dev_" + kind}
		if kind == leaking {
			m.Params = "leak=1"
		}
		s.Modules = append(s.Modules, m)
	}
	run, err := gate.One(t.Context(), s, "6.12", arch)
	require.NoError(t, err)
	return run
}

func assertBound(t *testing.T, gate *harness.Gate, arch string, run reports.Run) {
	t.Helper()
	assert.Equal(t, len(kindsOf(arch)), run.Stats.Devices)
	dir := filepath.Join(gate.Out, run.Dir)
	log, err := os.ReadFile(filepath.Join(dir, "dmesg.txt"))
	require.NoError(t, err)
	loads, err := os.ReadFile(filepath.Join(dir, "modules.json"))
	require.NoError(t, err)
	for _, k := range deviceKinds[:len(kindsOf(arch))] {
		assert.Contains(t, string(log), k.said)
		assert.Contains(t, string(loads), k.bound)
	}
}

// allocationOf is the line of a driver's one allocation. Example: usb/dev_usb.c:26
func allocationOf(t *testing.T, kind string) string {
	t.Helper()
	file := fmt.Sprintf("%s/dev_%s.c", kind, kind)
	text, err := os.ReadFile(filepath.Join("testdata/devices", file))
	require.NoError(t, err)
	before, _, found := strings.Cut(string(text), "kzalloc(")
	require.True(t, found, "%s: no kzalloc", file)
	return fmt.Sprintf("%s:%d", file, 1+strings.Count(before, "\n"))
}
