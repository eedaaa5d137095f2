package cli

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/kmemgate/kmemgate/kernels"
	"github.com/kmemgate/kmemgate/reports/render"
)

// desk is what a person sees while a gate is at work: lines with the time since
// the start, the guests' consoles where they are wanted, and below them, on a
// terminal, a bar for long work. Guests run side by side, so that all of it goes
// through one lock, in whole lines.
type desk struct {
	out   io.Writer
	start time.Time

	mu   sync.Mutex
	bar  *progressbar.ProgressBar // nil: none is shown
	what string                   // it tells of
}

func newDesk(out io.Writer) *desk { return &desk{out: out, start: time.Now()} }

func (d *desk) say(format string, args ...any) {
	d.line(fmt.Sprintf("%7.1fs  %s\n", time.Since(d.start).Seconds(), fmt.Sprintf(format, args...)))
}

// console shows a guest's console, each line with the guest's name.
func (d *desk) console(guest string) io.Writer {
	return &render.Lines{Out: writerFunc(d.line), Prefix: guest + " | "}
}

// line writes a whole line above the bar.
func (d *desk) line(text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bar != nil {
		_ = d.bar.Clear()
	}
	_, _ = io.WriteString(d.out, text) // a closed terminal is no reason to lose a run
	if d.bar != nil {
		_ = d.bar.RenderBlank()
	}
}

// progress draws the bar of the work that was told of last; at its end the bar
// goes. A log has the lines of what is done instead.
func (d *desk) progress(what string, done, total int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bar != nil && (d.what != what || done == total) {
		_ = d.bar.Clear()
		d.bar = nil
	}
	if done == total || !kernels.Terminal(d.out) {
		return
	}
	if d.bar == nil {
		d.what, d.bar = what, kernels.NewBar(d.out, what, "", total, 0)
	}
	if total > 0 && d.bar.GetMax() != total {
		d.bar.ChangeMax(total)
	}
	_ = d.bar.Set(done)
}

// writerFunc writes with a function that takes whole lines.
type writerFunc func(text string)

func (f writerFunc) Write(b []byte) (int, error) {
	f(string(b))
	return len(b), nil
}
