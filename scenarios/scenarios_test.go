package scenarios_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/harness/leaktest"
)

// TestScenarios runs every folder here that holds a kmemgate.yml and judges it
// by its expectation. KMEMGATE_PAIRS ("6.12/x86_64 6.1/arm64") replaces the
// kernels and architectures that the scenarios name.
//
//	go test ./scenarios -run 'Scenarios/6.12/arm64/leak-on-exit'
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("*/kmemgate.yml")
	require.NoError(t, err)
	require.NotEmpty(t, files, "no scenario found")
	var dirs []string
	for _, f := range files {
		dirs = append(dirs, filepath.Dir(f))
	}
	leaktest.Run(t, leaktest.Options{Pairs: strings.Fields(os.Getenv("KMEMGATE_PAIRS"))}, dirs...)
}
