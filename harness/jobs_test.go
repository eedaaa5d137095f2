package harness

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/reports"
)

func TestPlace(t *testing.T) {
	h := &Host{Jobs: 2}
	leave, err := h.place(t.Context())
	require.NoError(t, err)
	_, err = h.place(t.Context())
	require.NoError(t, err)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = h.place(over)
	require.ErrorIs(t, err, context.Canceled, "both are taken")
	leave()
	leave() // gives no second one
	_, err = h.place(t.Context())
	require.NoError(t, err)
	_, err = h.place(over)
	require.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, runtime.NumCPU(), (&Host{}).jobs())
}

// TestGuestsAtOnce starts clones and cold boots from many sides: as many live at
// once as there are jobs, and no more.
func TestGuestsAtOnce(t *testing.T) {
	m, h := fakeMachine(t, "arm64", "done"), testHost(t)
	h.Jobs = 2
	tmpl, err := h.Template(t.Context(), m)
	require.NoError(t, err)
	watched, cancel := context.WithCancel(t.Context())
	most := make(chan int)
	go func() {
		n := 0
		for watched.Err() == nil {
			n = max(n, len(qemusIn(t, h.Temp)))
			time.Sleep(time.Millisecond)
		}
		most <- n
	}()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			start := tmpl.Run
			if i%4 == 0 {
				start = func(ctx context.Context, job []byte, opt RunOptions) (*reports.Capture, error) {
					return h.Boot(ctx, m, job, opt)
				}
			}
			c, err := start(t.Context(), emptyJob(t), RunOptions{})
			if assert.NoError(t, err) {
				assert.Empty(t, c.Reason, c.Detail)
			}
		})
	}
	wg.Wait()
	cancel()
	assert.Equal(t, 2, <-most)
	assertNothingLeft(t, h.Temp)
}
