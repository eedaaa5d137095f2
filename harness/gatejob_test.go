package harness

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"

	"github.com/kmemgate/kmemgate/kernels"
	"github.com/kmemgate/kmemgate/reports"
	"github.com/kmemgate/kmemgate/scenarios"
)

func TestJobCarriesTheScenariosTimeoutAndItsControlLoadsNothing(t *testing.T) {
	c := cell{scenario: &scenarios.Scenario{Timeout: time.Hour, Exercise: "sleep 1800", Cycles: 2}}
	job, control, err := c.jobs()
	require.NoError(t, err)
	assert.Equal(t, time.Hour.Nanoseconds(), job.TimeoutNS, "the agent ends a script after a minute unless told otherwise")
	assert.False(t, job.ExerciseMayFail)
	assert.True(t, control.ExerciseMayFail, "a script may stumble over the module that is not there")
	assert.Empty(t, control.Modules)
	assert.Equal(t, job.Cycles, control.Cycles)
	assert.Equal(t, job.TimeoutNS, control.TimeoutNS)
}

// The shell's own echo writes word by word, which sysfs takes for as many commands.
func TestEchoWritesALineAtOnce(t *testing.T) {
	c := cell{scenario: &scenarios.Scenario{Exercise: "echo attach 0 1048576 > mgmt\ncat nowhere\n"}}
	job, _, err := c.jobs()
	require.NoError(t, err)
	script := string(job.files[0].Content)
	assert.Equal(t, 2, strings.Count(script, "\n"), "the lines keep their numbers")

	file, err := syntax.NewParser().Parse(strings.NewReader(script), "exercise.sh")
	require.NoError(t, err)
	var out countedWrites
	runner, err := interp.New(interp.StdIO(nil, &out, &out), interp.OpenHandler(
		func(context.Context, string, int, os.FileMode) (io.ReadWriteCloser, error) { return &out, nil }))
	require.NoError(t, err)
	_ = runner.Run(t.Context(), file) // cat fails
	assert.Contains(t, out.all, "attach 0 1048576\n")
}

// countedWrites keeps what each write wrote.
type countedWrites struct{ all []string }

func (w *countedWrites) Write(p []byte) (int, error) {
	w.all = append(w.all, string(p))
	return len(p), nil
}
func (*countedWrites) Read([]byte) (int, error) { return 0, io.EOF }
func (*countedWrites) Close() error             { return nil }

func TestReproduceSaysWhatWasSaid(t *testing.T) {
	here, err := os.Getwd()
	require.NoError(t, err)
	g := &Gate{Flags: []string{"--cycles=3", "--cmdline=a b"}}
	c := cell{scenario: &scenarios.Scenario{Dir: filepath.Join(here, "drivers/foo")}, source: "6.12", arch: "arm64"}
	assert.Equal(t, "kmemgate run drivers/foo --kernel 6.12 --arch arm64 --cycles=3 '--cmdline=a b'", g.reproduce(c))
	c.scenario.Dir = here
	assert.Contains(t, g.reproduce(c), "kmemgate run . --kernel")
	c.scenario.Dir, c.scenario.Clock = "/elsewhere/it's", ClockReal
	assert.Equal(t, `kmemgate run '/elsewhere/it'\''s' --kernel 6.12 --arch arm64 --clock real --cycles=3 '--cmdline=a b'`, g.reproduce(c))
}

// TestKernelWithDebugInfoIsNamed: by its place, and not copied.
func TestKernelWithDebugInfoIsNamed(t *testing.T) {
	c := cell{kernel: &kernels.Kernel{Build: t.TempDir()}}
	assert.Empty(t, c.capturedModules(), "no vmlinux")
	vmlinux := filepath.Join(c.kernel.Build, "vmlinux")
	out, err := exec.Command("go", "build", "-o", vmlinux, "../main.go").CombinedOutput() // any program with DWARF
	require.NoError(t, err, string(out))
	assert.Equal(t, []reports.Module{{Name: reports.Vmlinux, Path: vmlinux}}, c.capturedModules())
}
