package scenarios_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/harness"
	"github.com/kmemgate/kmemgate/harness/leaktest"
	"github.com/kmemgate/kmemgate/kernels"
	"github.com/kmemgate/kmemgate/reports"
	"github.com/kmemgate/kmemgate/scenarios"
)

const mutationsFile = "../.ci/mutations/scenarios.yml"

// mutation is a change that its scenario must notice.
type mutation struct {
	Scenario string `yaml:"scenario"`
	File     string `yaml:"file"`
	Text     string `yaml:"text"` // there exactly once
	With     string `yaml:"with"` // what stands there instead
	// None, in place of the others, says why there can be no such change.
	None string `yaml:"none"`
}

func mutations(t *testing.T) []mutation {
	t.Helper()
	text, err := os.ReadFile(mutationsFile)
	require.NoError(t, err)
	var all []mutation
	require.NoError(t, yaml.UnmarshalWithOptions(text, &all, yaml.Strict()))
	return all
}

// Every scenario has a change that it must notice, or the list says why not.
func TestEveryScenarioHasAMutation(t *testing.T) {
	list := mutations(t)
	for _, s := range everyScenario(t) {
		require.True(t, slices.ContainsFunc(list, func(m mutation) bool { return m.Scenario == s.Name }),
			"%s: add %s, a change that it must notice", mutationsFile, s.Name)
	}
	for _, m := range list {
		if m.None == "" {
			_, err := m.apply()
			require.NoError(t, err)
		}
	}
}

// TestMutatedScenarios makes the change in a copy of each scenario: it must
// then fail, because the guest did otherwise than is expected. One that still
// passes expects too little.
func TestMutatedScenarios(t *testing.T) {
	needProving(t, "make mutate")
	cache := borrowingCache(t, kernels.KindSources, kernels.KindKernels, kernels.KindLists, kernels.KindUserland, kernels.KindTemplates, kernels.KindControls)
	gate := provingGate(t, cache)
	rows := newTable(t)
	for _, m := range mutations(t) {
		if m.None != "" {
			rows.add(m, "none: "+m.None)
			continue
		}
		t.Run(m.Scenario, func(t *testing.T) {
			t.Parallel()
			how, err := m.noticed(t, gate)
			if err != nil {
				rows.add(m, "ERROR: "+err.Error())
				t.Fatal(err)
			}
			rows.add(m, "noticed: "+how)
		})
	}
}

// table is printed when the last of the parallel subtests is over.
type table struct {
	mu    sync.Mutex
	lines []string
}

func newTable(t *testing.T) *table {
	rows := &table{}
	t.Cleanup(func() {
		slices.Sort(rows.lines)
		t.Log("\n" + strings.Join(rows.lines, "\n"))
	})
	return rows
}

func (r *table) add(m mutation, result string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf("%-22s %-26s %s", m.Scenario, m.File, result))
}

// noticed runs the mutated scenario, and tells which expectation it misses.
func (m mutation) noticed(t *testing.T, gate *harness.Gate) (string, error) {
	s, err := m.copied(t.TempDir())
	if err != nil {
		return "", err
	}
	run, err := gate.One(t.Context(), s, provingKernel, provingArch)
	if err != nil {
		return "", err
	}
	diff, err := leaktest.Differences(s, run, gate.Out)
	switch {
	case err != nil:
		return "", err
	case len(diff) == 0:
		return "", fmt.Errorf("SURVIVED: %s: %s in place of %q, and it passes", m.File, m.With, m.Text)
	case slices.Contains([]string{reports.ReasonBuild, reports.ReasonKernel, "load-failed"}, run.Reason):
		return "", fmt.Errorf("proves nothing: %s: %s", run.Reason, run.Detail)
	}
	return strings.Join(diff, "; "), nil
}

// apply returns the changed file's text.
func (m mutation) apply() (string, error) {
	file := filepath.Join(m.Scenario, m.File)
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	if n := strings.Count(string(text), m.Text); m.Text == "" || n != 1 {
		return "", fmt.Errorf("%s has %q %d times, want once: mend %s", file, m.Text, n, mutationsFile)
	}
	return strings.Replace(string(text), m.Text, m.With, 1), nil
}

// copied is the scenario with the change, below dir.
func (m mutation) copied(dir string) (*scenarios.Scenario, error) {
	text, err := m.apply()
	if err != nil {
		return nil, err
	}
	dir = filepath.Join(dir, m.Scenario)
	if err := os.CopyFS(dir, os.DirFS(m.Scenario)); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, m.File), []byte(text), 0o644); err != nil {
		return nil, err
	}
	return scenarios.Load(dir)
}
