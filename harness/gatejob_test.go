package harness

import (
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
