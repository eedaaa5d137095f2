package harness

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/kernels"
	"github.com/kmemgate/kmemgate/reports"
	"github.com/kmemgate/kmemgate/scenarios"
)

// ownArch is this machine's architecture, and the other.
func ownArch() (own, other string) {
	if runtime.GOARCH == arches["arm64"].goarch {
		return "arm64", "x86_64"
	}
	return "x86_64", "arm64"
}

// A device that opens is not enough, nor is a QEMU that goes on without it. The
// QEMUs are scripts: which of these a machine shows is its own affair.
func TestKVMIsProven(t *testing.T) {
	own, other := ownArch()
	device := filepath.Join(t.TempDir(), "kvm")
	require.NoError(t, os.WriteFile(device, nil, 0o600))
	for _, tt := range []struct{ name, arch, device, script, lack string }{
		{"works", own, device, `echo '{"return": {"enabled": true, "present": true}}'`, ""},
		{"aborts", own, device, `echo 'kvm_buf_set_msrs: Assertion failed.' >&2; kill -ABRT $$`, "signal: aborted: kvm_buf_set_msrs: Assertion failed."},
		{"is not used", own, device, `echo '{"return": {"enabled": false, "present": true}}'`, "QEMU does not use it"},
		{"is not there", own, device + "-none", `exit 1`, "no such file"},
		{"is another's", other, device, `echo '{"return": {"enabled": true, "present": true}}'`, "own architecture"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			qemu := filepath.Join(t.TempDir(), "qemu")
			require.NoError(t, os.WriteFile(qemu, []byte("#!/bin/sh\necho >> $0.asked\n"+tt.script+"\n"), 0o755))
			h := &Host{QEMU: map[string]string{tt.arch: qemu}, kvmDevice: tt.device}
			m := Machine{Kernel: &kernels.Kernel{Arch: tt.arch}, Clock: ClockReal}
			for range 2 {
				p, note, err := h.plan(t.Context(), m, roleCold)
				require.NoError(t, err)
				assert.Equal(t, tt.lack == "", p.kvm)
				assert.Contains(t, note, tt.lack)
				assert.Equal(t, tt.lack == "", note == "", note)
			}
			if asked, err := os.ReadFile(qemu + ".asked"); err == nil {
				assert.Equal(t, "\n", string(asked), "it is asked once")
			}
		})
	}
	_, note, err := (&Host{QEMU: map[string]string{own: "true"}, kvmDevice: device + "-none"}).plan(
		t.Context(), Machine{Kernel: &kernels.Kernel{Arch: own}, SMP: 2}, roleCold)
	require.NoError(t, err)
	assert.Regexp(t, "^more than one CPU: .*; emulated, without KVM: open .*", note)
}

// TestRealClock gates under the real clock, with two CPUs, on this machine's KVM
// or without, and is told which.
func TestRealClock(t *testing.T) {
	t.Parallel()
	gateKernel(t)
	gate := testGate(t)
	s, err := scenarios.Load("../scenarios/leak-on-exit")
	require.NoError(t, err)
	s.Kernels, s.Arches, s.Clock = []string{"6.12"}, []string{"x86_64"}, ClockReal
	run := gateOnce(t, gate, s)
	assert.Equal(t, reports.Leaks, run.Verdict, "%s: %s", run.Reason, run.Detail)
	assert.Equal(t, []string{ClockReal, "cold"}, []string{run.Clock, run.Boot})
	assert.Contains(t, run.BootNote, "clock: real")
	command := string(readFile(t, filepath.Join(gate.Out, run.Dir, "qemu.cmd")))
	if lack := gate.Host.KVM(t.Context(), "x86_64"); lack == nil {
		assert.Contains(t, command, "-accel kvm")
		assert.Empty(t, run.ClockNote)
	} else {
		assert.Contains(t, command, "-accel tcg")
		assert.Contains(t, run.ClockNote, lack.Error())
	}
	assert.Contains(t, command, "-smp 2")
	assertNothingLeft(t, gate.Host.Temp)
}
