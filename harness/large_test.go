package harness_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/reports"
	"github.com/kmemgate/kmemgate/scenarios"
)

// TestLargeJob hands a clone 20 MB of modules, twice: each of the four comes
// whole, loses its object, and the second run is like the first, to the byte.
func TestLargeJob(t *testing.T) {
	gate := realGate(t)
	for _, arch := range []string{"x86_64", "arm64"} {
		t.Run(arch, func(t *testing.T) {
			needPairs(t, gate, "6.12/"+arch)
			s, err := scenarios.Load("testdata/large")
			require.NoError(t, err)
			texts := map[string]string{}
			for range 2 {
				run, err := gate.One(t.Context(), s, "6.12", arch)
				require.NoError(t, err)
				require.Equal(t, reports.Leaks, run.Verdict, "%s: %s", run.Reason, run.Detail)
				require.Equal(t, "clone", run.Boot, run.BootNote)
				var files []string
				for _, l := range run.Leaks {
					assert.Equal(t, "lose", l.Function)
					files = append(files, l.Module)
				}
				assert.ElementsMatch(t, []string{"large1", "large2", "large3", "large4"}, files)
				dir := filepath.Join(gate.Out, run.Dir)
				assert.GreaterOrEqual(t, jobBytes(t, dir), int64(20<<20))
				for _, name := range []string{"kmemleak.txt", "console.log"} {
					text, err := os.ReadFile(filepath.Join(dir, name))
					require.NoError(t, err)
					if first, ok := texts[name]; ok {
						assert.Equal(t, first, string(text), name)
					}
					texts[name] = string(text)
				}
			}
		})
	}
}

// jobBytes is the size of the modules that a run's guest got.
func jobBytes(t *testing.T, dir string) (total int64) {
	t.Helper()
	modules, err := filepath.Glob(filepath.Join(dir, "job", "modules", "*.ko"))
	require.NoError(t, err)
	for _, m := range modules {
		info, err := os.Stat(m)
		require.NoError(t, err)
		total += info.Size()
	}
	return total
}
