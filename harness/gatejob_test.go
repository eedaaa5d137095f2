package harness

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

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
