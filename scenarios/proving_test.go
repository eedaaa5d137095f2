package scenarios_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/harness"
	"github.com/kmemgate/kmemgate/kernels"
	"github.com/kmemgate/kmemgate/scenarios"
)

// What the tests that prove the scenarios themselves have in common: they run
// them all once more, on the default kernel, and want them to fail.
const (
	provingKernel = "6.12"
	provingArch   = "x86_64"
	provingTime   = 20 * time.Minute // on two cores, for one change of them all
)

// needProving skips where the proof cannot be had: in a short run, without the
// kernel, or under go test's usual deadline. In CI only the first is let pass.
func needProving(t *testing.T, command string) *harness.Gate {
	t.Helper()
	if testing.Short() {
		t.Skip("runs every scenario on a VM")
	}
	gate := provingGate(t, &kernels.Cache{})
	if _, err := gate.Built(t.Context(), &scenarios.Scenario{}, provingKernel, provingArch); err != nil {
		unproven(t, "%v", err)
	}
	if deadline, ok := t.Deadline(); ok && time.Until(deadline) < provingTime {
		unproven(t, "go test's -timeout is too short: type %s", command)
	}
	return gate
}

// unproven skips on a desk and fails in CI.
func unproven(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

func provingGate(t *testing.T, cache *kernels.Cache) *harness.Gate {
	t.Helper()
	gate := &harness.Gate{
		Builder: &kernels.Builder{Cache: cache, Log: t.Output()},
		Host:    &harness.Host{Cache: cache, Log: t.Logf},
		Out:     t.ArtifactDir(),
	}
	t.Cleanup(gate.Close)
	return gate
}

// borrowingCache is a cache of the test's own that has the named kinds from the
// user's. Nothing is evicted for it.
func borrowingCache(t *testing.T, kinds ...string) *kernels.Cache {
	t.Helper()
	own := &kernels.Cache{Dir: t.TempDir(), Limit: -1}
	for _, kind := range kinds {
		path, err := (&kernels.Cache{}).Path(kind, "any")
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.Symlink(filepath.Dir(path), filepath.Join(own.Dir, kind)))
	}
	return own
}

// everyScenario loads the suite.
func everyScenario(t *testing.T) []*scenarios.Scenario {
	t.Helper()
	files, err := filepath.Glob("*/" + scenarios.FileName)
	require.NoError(t, err)
	require.NotEmpty(t, files, "no scenario found")
	var all []*scenarios.Scenario
	for _, f := range files {
		s, err := scenarios.Load(filepath.Dir(f))
		require.NoError(t, err)
		all = append(all, s)
	}
	return all
}
