package kernels

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// transfer tells how far an up- or download is, as progress does for a build,
// and ends one that stands still.
type transfer struct {
	b     *Builder
	what  string
	size  int64
	start time.Time

	mu     sync.Mutex
	done   int64
	told   time.Time
	bar    *progressbar.ProgressBar // nil: not a terminal
	watch  *time.Timer
	stall  time.Duration
	cancel context.CancelCauseFunc
}

// newTransfer starts one; its context ends with errStalled when no byte moves
// for Builder.Stall.
func (b *Builder) newTransfer(ctx context.Context, what string, size int64) (*transfer, context.Context) {
	t := &transfer{b: b, what: what, size: size, start: time.Now(), told: time.Now(), stall: b.Stall}
	if t.stall == 0 {
		t.stall = time.Minute
	}
	ctx, t.cancel = context.WithCancelCause(ctx)
	t.watch = time.AfterFunc(t.stall, func() { t.cancel(errStalled) })
	b.logf("%s: %s", what, megabytes(size))
	if Terminal(b.Log) {
		t.bar = progressbar.NewOptions64(size, progressbar.OptionSetWriter(b.Log), progressbar.OptionSetDescription(what),
			progressbar.OptionEnableColorCodes(os.Getenv("NO_COLOR") == ""), progressbar.OptionSetTheme(progressbar.ThemeASCII),
			progressbar.OptionShowBytes(true), progressbar.OptionThrottle(200*time.Millisecond),
			progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(30))
	}
	return t, ctx
}

func (t *transfer) stop() {
	t.watch.Stop()
	t.cancel(nil)
	if t.bar != nil {
		_ = t.bar.Clear()
	}
}

func (t *transfer) moved(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.watch.Reset(t.stall)
	t.done += int64(n)
	if t.bar != nil {
		_ = t.bar.Set64(t.done)
		return
	}
	if now := time.Now(); now.Sub(t.told) >= time.Minute {
		t.told = now
		t.b.logf("%s: %s of %s after %s", t.what, megabytes(t.done), megabytes(t.size), now.Sub(t.start).Round(time.Second))
	}
}

func (t *transfer) count() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.done
}

// reader counts what is read.
func (t *transfer) reader(r io.Reader) io.Reader { return &countedReader{r, t} }

type countedReader struct {
	r io.Reader
	t *transfer
}

func (c *countedReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if n > 0 {
		c.t.moved(n)
	}
	return n, err
}

func megabytes(n int64) string {
	if n < 1e6 {
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}
