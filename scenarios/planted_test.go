package scenarios_test

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/kmemgate/kmemgate/harness"
	"github.com/kmemgate/kmemgate/harness/leaktest"
	"github.com/kmemgate/kmemgate/kernels"
	"github.com/kmemgate/kmemgate/scenarios"
)

const faultsDir = "testdata/faults"

// fault is planted in the kernel's kmemleak: expected.yml tells which scenarios
// must turn red by it, each with the reason.
type fault struct {
	What  string            `yaml:"what"`
	Red   map[string]string `yaml:"red"`
	Every string            `yaml:"every"` // in place of Red: all do, …
	But   map[string]string `yaml:"but"`   // … save these
}

func faults(t *testing.T) map[string]fault {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(faultsDir, "expected.yml"))
	require.NoError(t, err)
	var list map[string]fault
	require.NoError(t, yaml.UnmarshalWithOptions(text, &list, yaml.Strict()))
	return list
}

// red are those of the named scenarios that must fail.
func (f fault) red(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		if f.Every != "" {
			return f.But[name] != ""
		}
		return f.Red[name] == ""
	})
}

// The list speaks of scenarios and patches that are there, and of all of them.
func TestFaultsAreListed(t *testing.T) {
	patches, err := filepath.Glob(faultsDir + "/*.patch")
	require.NoError(t, err)
	list := faults(t)
	require.Len(t, patches, len(list))
	for name, f := range list {
		require.FileExists(t, filepath.Join(faultsDir, name+".patch"))
		require.True(t, (f.Every == "") != (len(f.Red) == 0), "%s: says red, or every and but", name)
		for _, m := range []map[string]string{f.Red, f.But} {
			for s := range m {
				require.FileExists(t, filepath.Join(s, scenarios.FileName), "%s", name)
			}
		}
	}
}

// TestPlantedFaults runs the suite on kernels whose kmemleak is broken, in one
// way each: the scenarios that the list names must fail, and no other.
func TestPlantedFaults(t *testing.T) {
	user := needProving(t, "make test-planted")
	suite, stock, missing := builtSuite(t, user)
	for _, name := range slices.Sorted(maps.Keys(faults(t))) {
		t.Run(name, func(t *testing.T) {
			gate := provingGate(t, plant(t, filepath.Join(faultsDir, name+".patch"), stock))
			var names []string
			for _, s := range suite {
				names = append(names, s.Name)
			}
			require.Equal(t, faults(t)[name].red(names), failing(t, gate, suite))
			if len(missing) > 0 {
				unproven(t, "as listed, but for those whose own kernels are not built (make test-planted builds them): %s", strings.Join(missing, " "))
			}
		})
	}
}

// builtSuite is the suite, with the kernels that it runs on, and the names of
// the scenarios that want a kernel of their own which is still to be built.
func builtSuite(t *testing.T, gate *harness.Gate) (suite []*scenarios.Scenario, stock map[string]*kernels.Kernel, missing []string) {
	t.Helper()
	stock = map[string]*kernels.Kernel{}
	built := map[string]*kernels.Kernel{} // by options: to look for one takes a second
	for _, s := range everyScenario(t) {
		options := strings.Join(s.Kconfig, " ")
		k, known := built[options]
		if !known {
			k, _ = gate.Built(t.Context(), s, provingKernel, provingArch)
			built[options] = k
		}
		if k == nil {
			missing = append(missing, s.Name)
			continue
		}
		suite = append(suite, s)
		stock[k.Key] = k
	}
	return suite, stock, missing
}

// failing runs the suite and returns the names of those that fail, sorted; why
// each does stands in the log.
func failing(t *testing.T, gate *harness.Gate, suite []*scenarios.Scenario) []string {
	t.Helper()
	var mu sync.Mutex
	var red []string
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(runtime.NumCPU())
	for _, s := range suite {
		group.Go(func() error {
			diff, err := differences(ctx, gate, s)
			if err != nil || len(diff) == 0 {
				return err
			}
			t.Logf("red: %s: %s", s.Name, strings.Join(diff, "; "))
			mu.Lock()
			defer mu.Unlock()
			red = append(red, s.Name)
			return nil
		})
	}
	require.NoError(t, group.Wait())
	slices.Sort(red)
	return red
}

func differences(ctx context.Context, gate *harness.Gate, s *scenarios.Scenario) ([]string, error) {
	run, err := gate.One(ctx, s, provingKernel, provingArch)
	if err != nil {
		return nil, err
	}
	return leaktest.Differences(s, run, gate.Out)
}
