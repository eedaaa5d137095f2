package harness

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/reports"
)

// TestSilenceIsMonotonic: a guest is given up on after so much silence. The times
// that tell carry a reading of the monotonic clock ("m=+0.1", see package time):
// the wall clock may jump by a year, and no guest hangs for it.
func TestSilenceIsMonotonic(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := &watcher{
		guest:  &guest{qmp: &qmpClient{}, console: &console{}},
		answer: &answer{},
	}
	require.Equal(t, reports.ReasonInterrupted, w.watch(ctx).reason)
	require.Contains(t, w.begin.String(), "m=")
	require.Contains(t, w.wall.String(), "m=")
}
