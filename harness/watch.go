package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/kmemgate/kmemgate/initramfs/wire"
	"github.com/kmemgate/kmemgate/reports"
)

// ending is how a run ended, as far as the host saw it.
type ending struct {
	reason string // of package reports; empty: the goal was met
	detail string
}

// watcher waits for a guest to reach its goal, or for what keeps it from it.
type watcher struct {
	guest  *guest
	answer *answer
	opt    RunOptions
	goal   <-chan struct{} // answer.over, or answer.ready for a template

	begin time.Time
	wall  time.Time     // of the last message
	clock time.Duration // the guest's, at the first look after it
	timed bool          // clock is valid
}

// watch returns when the run is over. The guest may then still be there.
func (w *watcher) watch(ctx context.Context) ending {
	w.begin, w.wall = time.Now(), time.Now()
	tick := time.NewTicker(clockPoll)
	defer tick.Stop()
	events := w.guest.qmp.Events
	for {
		select {
		case <-w.goal:
			return w.reached(ctx)
		case <-w.answer.over:
			return w.reached(ctx)
		case <-w.answer.word:
			w.wall, w.timed = time.Now(), false
		case e, ok := <-events:
			if !ok {
				return w.gone()
			}
			switch {
			case e.Name == "SHUTDOWN":
				return w.shutdown(e.reason())
			case e.portClosed():
				return w.closed(ctx)
			case e.Name == "STOP" && w.broken(ctx):
				return ending{reports.ReasonQEMU, internalError + w.guest.stderr.firstLine()}
			}
		case <-w.guest.exited:
			return w.gone()
		case <-w.guest.console.flooded:
			return ending{reports.ReasonFlood, fmt.Sprintf("the console printed more than %d KB", w.guest.console.max>>10)}
		case <-ctx.Done():
			return ending{reports.ReasonInterrupted, context.Cause(ctx).Error()}
		case <-tick.C:
			if end := w.late(ctx); end.reason != "" {
				return end
			}
		}
	}
}

// internalError is a stop that neither we nor the guest asked for.
const internalError = "QEMU stopped the guest for an internal error"

func (w *watcher) broken(ctx context.Context) bool {
	var status struct {
		Status string `json:"status"`
	}
	return w.guest.qmp.Do(ctx, "query-status", nil, &status) == nil && status.Status == "internal-error"
}

// reached tells a guest that said everything from one whose answer broke off.
// An answer that breaks off because QEMU is gone is QEMU's end, or a panic:
// the port closes a moment before the event can be read.
func (w *watcher) reached(ctx context.Context) ending {
	w.answer.mu.Lock()
	err := w.answer.err
	w.answer.mu.Unlock()
	switch {
	case err == nil:
		return ending{}
	case errors.Is(err, wire.ErrFlood):
		return ending{reports.ReasonFlood, err.Error()}
	case errors.Is(err, wire.ErrProtocol):
		return ending{reports.ReasonProtocol, err.Error()}
	}
	select {
	case <-w.guest.exited:
		return w.gone()
	case <-time.After(quitTimeout):
	case <-ctx.Done():
		return ending{reports.ReasonInterrupted, context.Cause(ctx).Error()}
	}
	return ending{reports.ReasonCut, err.Error()}
}

// closed is for a port that the guest has closed, which the agent never does:
// nothing more will come, and the guest may live on in silence.
func (w *watcher) closed(ctx context.Context) ending {
	select {
	case <-w.guest.exited: // its end was the port's
		return w.gone()
	case <-w.goal:
		return w.reached(ctx)
	case <-time.After(quitTimeout):
	case <-ctx.Done():
		return ending{reports.ReasonInterrupted, context.Cause(ctx).Error()}
	}
	return ending{reports.ReasonCut, "the guest closed its port before it was done" + w.answer.inPhase()}
}

// gone is for a QEMU that has ended: its last events tell why.
func (w *watcher) gone() ending {
	<-w.guest.exited
	for e := range w.guest.qmp.Events {
		if e.Name == "SHUTDOWN" {
			return w.shutdown(e.reason())
		}
	}
	detail := "QEMU ended"
	if w.guest.err != nil {
		detail += ": " + w.guest.err.Error()
	}
	said := w.guest.stderr.lastLine()
	return ending{reports.ReasonQEMU, detail + said + " (" + cureQEMU(w.guest.err, said) + ")"}
}

// shutdown reads the reason of a SHUTDOWN event (qapi/run-state.json).
func (w *watcher) shutdown(reason string) ending {
	// Whoever ended QEMU, its console is complete once it is gone.
	select {
	case <-w.guest.exited:
	case <-time.After(quitTimeout):
	}
	switch reason {
	case "guest-reset", "guest-panic": // panic=-1 with -no-reboot
		return ending{reports.ReasonPanic, "the guest's kernel panicked"}
	case "guest-shutdown":
		return ending{reports.ReasonCut, "the guest powered itself off before it was done" + w.answer.inPhase()}
	}
	return ending{reports.ReasonQEMU, "QEMU was told to end: " + reason}
}

// late tells whether the guest has been silent for too long.
func (w *watcher) late(ctx context.Context) ending {
	if w.opt.Terminal != nil {
		return ending{} // a person may think as long as they like
	}
	limit, silent := w.opt.timeout(), time.Since(w.wall)
	if time.Since(w.begin) > w.opt.wall() {
		return w.hung(ctx, fmt.Sprintf("not done after %v", w.opt.wall()))
	}
	if silent > afterOops && reports.Oopsed(w.guest.console.Bytes()) {
		return w.hung(ctx, fmt.Sprintf("no word from the guest for %v, and its kernel had oopsed", silent.Round(time.Second)))
	}
	if w.guest.plan.Clock == ClockReal {
		if silent > limit {
			return w.hung(ctx, fmt.Sprintf("no word from the guest for %v", limit))
		}
		return ending{}
	}
	now, err := w.guest.now(ctx)
	switch {
	case errors.Is(err, errNoReply) && silent > unanswered:
		return ending{reports.ReasonQEMU, fmt.Sprintf("QEMU does not answer, for %v now: was it stopped, or has this machine no time for it?", time.Since(w.wall).Round(time.Second))}
	case err != nil: // QEMU is busy, or on its way out
	case !w.timed:
		w.clock, w.timed = now, true
	case now-w.clock > limit && silent > leastSilence:
		return w.hung(ctx, fmt.Sprintf("no word from the guest for %v of its time", limit))
	}
	if silent > slowdown*limit {
		return w.hung(ctx, fmt.Sprintf("no word from the guest for %v", silent.Round(time.Second)))
	}
	return ending{}
}

// hung asks the kernel where it hangs before the guest is ended.
func (w *watcher) hung(ctx context.Context, detail string) ending {
	detail += w.answer.inPhase()
	w.guest.backtraces(ctx)
	return ending{reports.ReasonHang, detail}
}

// inPhase names the phase that the guest is in, if it told of any.
func (a *answer) inPhase() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.phases) == 0 {
		return ""
	}
	return fmt.Sprintf(" (in phase %q)", a.phases[len(a.phases)-1].Name)
}

// judge writes the ending into the capture. What the guest itself gave as its
// reason comes first: what follows is its consequence.
func (e ending) judge(c *reports.Capture, a *answer, console []byte) {
	if e.reason == reports.ReasonPanic {
		e = panicked(console)
	}
	if a.trouble != nil && e.reason != reports.ReasonInterrupted {
		detail := a.trouble.Detail
		if e.reason != "" && e.reason != reports.ReasonAgentDied {
			detail += "; then: " + e.detail
		}
		e = ending{a.trouble.Reason, detail}
	}
	c.Reason, c.Detail = e.reason, oneLine(e.detail)
}

// panicked finds the panic's own words, and tells the agent's death from the
// kernel's.
// Example: [    3.141592] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000009
func panicked(console []byte) ending {
	const mark = "Kernel panic - not syncing: "
	i := bytes.LastIndex(console, []byte(mark))
	if i < 0 {
		return ending{reports.ReasonPanic, "the guest reset itself without a panic message"}
	}
	line, _, _ := strings.Cut(string(console[i+len(mark):]), "\n")
	line = printable(strings.TrimSpace(line))
	if strings.Contains(line, "Attempted to kill init") {
		return ending{reports.ReasonAgentDied, "the agent, PID 1, ended: " + line}
	}
	return ending{reports.ReasonPanic, line}
}

// printable makes a guest's text fit for a terminal and a line.
func printable(s string) string {
	s = oneLine(s)
	return s[:min(len(s), 300)]
}

// oneLine takes what a terminal, or a CI system that reads lines, would obey out
// of a text that a guest had a say in. Its own lines stay apart by a blank.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case r < ' ' || r > '~':
			return '?'
		}
		return r
	}, strings.TrimSpace(s))
}
