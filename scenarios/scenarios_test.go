package scenarios_test

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/harness/leaktest"
	"github.com/kmemgate/kmemgate/scenarios"
)

// TestScenarios runs every folder here that holds a kmemgate.yml on every pair
// of kernel and architecture whose kernel is built, and judges it by its
// expectation. KMEMGATE_PAIRS ("6.12/x86_64 6.1/arm64") names the pairs, and
// builds what they lack.
//
//	go test ./scenarios -run 'Scenarios/6.12/arm64/leak-on-exit'
func TestScenarios(t *testing.T) {
	debug.SetGCPercent(400) // the guests want the processors
	files, err := filepath.Glob("*/kmemgate.yml")
	require.NoError(t, err)
	require.NotEmpty(t, files, "no scenario found")
	var dirs []string
	for _, f := range files {
		dirs = append(dirs, filepath.Dir(f))
	}
	leaktest.Run(t, suiteOptions(os.Getenv("KMEMGATE_PAIRS")), dirs...)
}

func suiteOptions(pairs string) leaktest.Options {
	if strings.TrimSpace(pairs) == "" {
		return leaktest.Options{Pairs: scenarios.Pairs, BuiltOnly: true, Overlap: true}
	}
	return leaktest.Options{Pairs: strings.Fields(pairs), Overlap: true, Env: []string{"KMEMGATE_PAIRS=" + pairs}}
}
