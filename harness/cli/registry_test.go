package cli

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/kernels/registrytest"
)

// entered runs the command in this process and returns what it wrote to stderr.
func entered(t *testing.T, status int, args ...string) string {
	t.Helper()
	var out, diag bytes.Buffer
	require.Equal(t, status, Main(args, strings.NewReader(""), &out, &diag), "%v:\n%s\n%s", args, &out, &diag)
	return diag.String()
}

// One machine builds the kernel and pushes it; another one, with a cache of its
// own, pulls it and judges both drivers with it: it fetches no source and
// compiles no kernel.
func TestPulledKernelJudges(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a guest")
	}
	r := registrytest.Start(t)
	goCache, err := exec.Command("go", "env", "GOCACHE").Output()
	require.NoError(t, err)
	name, kernel := r.Host+"/kernels", "6.12/"+hostArch()
	entered(t, 0, "kernel", "build", kernel)
	entered(t, 0, "kernel", "push", name, kernel)

	t.Setenv("GOCACHE", strings.TrimSpace(string(goCache))) // it follows XDG_CACHE_HOME
	cache := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", cache)
	require.Contains(t, entered(t, 0, "kernel", "pull", name, kernel), "pulling source")
	require.NotContains(t, entered(t, 0, "kernel", "pull", name, kernel), "pulling", "all is there")
	for scenario, status := range map[string]int{"clean": 0, "leak-on-exit": 1} {
		diag := entered(t, status, "run", "--kernel", "6.12", "--arch", hostArch(), "--out", t.TempDir(), "../../scenarios/"+scenario)
		require.NotContains(t, diag, "building with")
		require.Contains(t, diag, "from the cache")
	}
	logs, err := filepath.Glob(filepath.Join(cache, "kmemgate/kernels/*.log"))
	require.NoError(t, err)
	require.Empty(t, logs, "a kernel was built")
}
