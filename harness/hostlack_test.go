package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/kernels"
	"github.com/kmemgate/kmemgate/reports"
	"github.com/kmemgate/kmemgate/scenarios"
)

// A machine without QEMU for one architecture still tells what the other found.
func TestLackOfOneCellLeavesTheOthers(t *testing.T) {
	gateKernel(t)
	gate := testGate(t)
	if _, err := gate.Builder.Path(t.Context(), kernels.Spec{Source: "6.12", Arch: "arm64"}); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no kernel: %v", err)
		}
		t.Skipf("no kernel: %v", err)
	}
	gate.Host.QEMU = map[string]string{"arm64": filepath.Join(t.TempDir(), "qemu")}
	for scenario, want := range map[string][2]reports.Verdict{
		"../scenarios/leak-on-exit": {reports.Leaks, reports.Leaks},
		"../scenarios/clean":        {reports.Clean, reports.None},
	} {
		s, err := scenarios.Load(scenario)
		require.NoError(t, err)
		s.Kernels, s.Arches = []string{"6.12"}, []string{"arm64", "x86_64"}
		_, err = gate.Run(t.Context(), s)
		require.NoError(t, err)
		var report reports.Report
		require.NoError(t, json.Unmarshal(readFile(t, filepath.Join(gate.Out, "report.json")), &report))
		arm, x86 := report.Runs[0], report.Runs[1]
		assert.Equal(t, want, [2]reports.Verdict{x86.Verdict, report.Verdict})
		assert.Equal(t, []any{"arm64", reports.None, reports.ReasonHost}, []any{arm.Arch, arm.Verdict, arm.Reason})
		assert.Contains(t, arm.Detail, "qemu: not found in PATH (")
		assertRejudged(t, gate, arm)
	}
	assertNothingLeft(t, gate.Host.Temp)
}

// What is nobody's alone ends them all.
func TestLackOfAllCells(t *testing.T) {
	lack := hostError("install it", "qemu: not found")
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		ctx context.Context
		err error
		own bool
	}{
		{t.Context(), lack, true},
		{t.Context(), fmt.Errorf("template: %w", lack), true},
		{over, lack, false},
		{t.Context(), nil, false},
		{t.Context(), Usagef("no such device"), false},
		{t.Context(), hostError("", "evidence: %w", syscall.ENOSPC), false},
		{t.Context(), hostError(cureSpace, "template: the disk is full"), false},
	} {
		own := lackOfCell(tt.ctx, tt.err)
		assert.Equal(t, tt.own, own != nil, "%v", tt.err)
	}
	assert.Equal(t, &failure{reports.None, reports.ReasonHost, "qemu: not found (install it)"}, lackOfCell(t.Context(), lack))
}
