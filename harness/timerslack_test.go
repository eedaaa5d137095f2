package harness

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/scenarios"
)

// TestTimersAreCoalesced asks a process of a script how late its timers may be.
func TestTimersAreCoalesced(t *testing.T) {
	gateKernel(t)
	gate := testGate(t)
	s, err := scenarios.Load("../scenarios/clean")
	require.NoError(t, err)
	s.Kernels, s.Arches, s.Exercise = []string{"6.12"}, []string{"x86_64"}, "cat /proc/self/timerslack_ns"
	run := gateOnce(t, gate, s)
	assert.Equal(t, "4000000\n", string(readFile(t, filepath.Join(gate.Out, run.Dir, "exercise.log"))))
}
