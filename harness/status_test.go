package harness

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/reports"
	"github.com/kmemgate/kmemgate/scenarios"
)

// insertCanary leaks without the module under test, by the kernel's own
// kmemleak-test: in the control run as well.
const insertCanary = `insmod /lib/kmemgate/kmemleak-test.ko
rmmod kmemleak_test
`

// TestNoise has a script that makes the kernel leak whatever module is under
// test: the control run shows it, and the module is charged with its own leak
// alone. kmemleak-test comes to lie where the module's .init.text was, and in the
// control run where the module would be: neither may bear the module's name.
func TestNoise(t *testing.T) {
	gateKernel(t)
	for name, own := range map[string]int{"leak-on-exit": 1, "clean": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := gateScenario(t, filepath.Join("../scenarios", name))
			s.Exercise = insertCanary + s.Exercise
			run := gateOnce(t, testGate(t), s)
			assert.Equal(t, map[bool]reports.Verdict{true: reports.Leaks, false: reports.Clean}[own > 0], run.Verdict, run.Detail)
			objects := countByStatus(run)
			assert.Equal(t, own, objects[reports.New])
			assert.Greater(t, objects[reports.Noise], 20, "kmemleak-test leaks 25 objects")
			assert.Len(t, objects, min(own, 1)+1, "new and noise, and nothing else")
		})
	}
}

// TestTransient judges a driver while it is loaded: the first scans report what
// it frees before the last ones. That is shown, and is no leak.
func TestTransient(t *testing.T) {
	gateKernel(t)
	s := gateScenario(t, "testdata/late")
	unload := false
	s.Unload = &unload
	run := gateOnce(t, testGate(t), s)
	assert.Equal(t, reports.Clean, run.Verdict, run.Detail)
	require.Len(t, run.Leaks, 1)
	leak := run.Leaks[0]
	assert.Equal(t, reports.Transient, leak.Status)
	assert.Equal(t, "lend_one", leak.Function)
	assert.Positive(t, leak.Count)
}

// gateScenario is a driver's folder, to be gated on the kernel of gateKernel.
func gateScenario(t testing.TB, dir string) *scenarios.Scenario {
	t.Helper()
	s, err := scenarios.Load(dir)
	require.NoError(t, err)
	s.Kernels, s.Arches = []string{"6.12"}, []string{"x86_64"}
	return s
}

// countByStatus counts a run's objects.
func countByStatus(run reports.Run) map[reports.Status]int {
	objects := map[reports.Status]int{}
	for _, l := range run.Leaks {
		objects[l.Status] += l.Count
	}
	return objects
}
