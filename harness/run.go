package harness

import (
	"cmp"
	"context"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/kmemgate/kmemgate/reports"
)

const (
	defaultTimeout = 60 * time.Second
	defaultWall    = 30 * time.Minute
	// agentWaits is what the agent itself may sleep between two messages:
	// it lets 10 s pass before the first scan and 6 s before each other.
	agentWaits = 20 * time.Second
	// clockPoll is how often the guest's clock is looked at. A run of a
	// second is over before the first look.
	clockPoll = 2 * time.Second
	// slowdown is how much slower than the host's clock a busy warped guest
	// may be: "a pure CPU loop is about 4 times slower" (measured), on a host
	// whose cores are all taken.
	slowdown = 8
	// leastSilence is how long, in the host's time, a guest must have been silent
	// to be taken for hung. While it waits for a busy host to read the port, its
	// warped time runs ahead without limit.
	leastSilence = 6 * time.Second
	// unanswered is how long QEMU itself may leave its monitor unanswered
	// while its guest is silent. One that runs answers in milliseconds.
	unanswered = time.Minute
	// afterOops is how long, in the host's time, a guest may be silent whose
	// kernel has oopsed: nothing it says can make a verdict of that any more, and
	// a lock that the victim held is waited for in a loop of pauses, in which
	// warped time crawls: 25 s of it were not over after 200 (measured, x86_64).
	afterOops = 20 * time.Second
)

// Boot boots a guest, hands it the job and gathers its answer. What goes wrong
// in the guest is the capture's Reason; the error is for the host's faults.
// The job is a whole region (package initramfs makes it); nil is for a guest
// that shall get none.
func (h *Host) Boot(ctx context.Context, m Machine, job []byte, opt RunOptions) (*reports.Capture, error) {
	p, note, err := h.plan(ctx, m, roleCold)
	if err != nil {
		return nil, err
	}
	p.orphan, p.debug, p.idle = opt.Keep, opt.Debugger != nil, opt.Terminal != nil
	g, err := h.boot(ctx, p, job)
	if err != nil {
		return nil, err
	}
	c := newCapture(p, "cold", note)
	err = h.finish(ctx, g, nil, c, opt)
	if err == nil && p.kvm && c.Reason == reports.ReasonQEMU && strings.Contains(c.Detail, internalError) && opt.Terminal == nil && opt.Debugger == nil {
		h.giveUpKVM(p.qemu, c.Detail)
		return h.Boot(ctx, m, job, opt)
	}
	return c, err
}

// bootCold is Boot where clones are the rule: the user is told why this is none.
func (h *Host) bootCold(ctx context.Context, m Machine, job []byte, opt RunOptions, why string) (*reports.Capture, error) {
	h.logf("%s %s: booting cold: %s", m.Kernel.Release, m.Kernel.Arch, why)
	c, err := h.Boot(ctx, m, job, opt)
	if c != nil {
		c.BootNote = why
	}
	return c, err
}

// boot starts a guest that boots from its kernel. Its clock is still stopped.
func (h *Host) boot(ctx context.Context, p plan, job []byte) (*guest, error) {
	dir, err := newTempDir(h.Temp)
	if err != nil {
		return nil, err
	}
	g, err := h.bootIn(ctx, dir, p, job)
	if err != nil {
		dir.remove()
		return nil, err
	}
	return g, nil
}

func (h *Host) bootIn(ctx context.Context, dir *tempDir, p plan, job []byte) (*guest, error) {
	if p.initrd == "" {
		p.initrd = dir.file("initrd")
		if err := concatenate(p.initrd, p.Initrd); err != nil {
			return nil, err
		}
	}
	if p.job == "" {
		p.job = dir.file("job")
	}
	if err := writeJob(p.job, job); err != nil {
		return nil, err
	}
	p.extra = p.doors(dir)
	return h.start(ctx, dir, p)
}

// newCapture is a capture with what is known before the guest runs.
func newCapture(p plan, boot, clockNote string) *reports.Capture {
	return &reports.Capture{
		Schema: "kmemgate.capture/v1",
		Kernel: p.Kernel.Release, Arch: p.Kernel.Arch,
		Clock: p.Clock, ClockNote: clockNote, Boot: boot,
		Timings: map[string]float64{},
	}
}

// finish lets a stopped guest run, waits for its answer, and ends it.
func (h *Host) finish(ctx context.Context, g *guest, saved *savedAnswer, c *reports.Capture, opt RunOptions) error {
	keep := false
	defer func() {
		if !keep {
			g.Close()
		}
		g.leave() // a guest that is kept stands still
	}()
	if opt.Console != nil {
		g.console.follow(opt.Console)
	}
	a := g.listen(saved.wireBytes(), nil)
	c.Timings["start"] = time.Since(g.began).Seconds()
	if opt.Terminal != nil {
		go g.console.typed(g.plan.con+".in", opt.Terminal)
	}
	if opt.Debugger != nil {
		opt.Debugger(g.debugLine())
	} else if err := g.qmp.Do(ctx, "cont", nil, nil); err != nil && ctx.Err() == nil {
		return hostError("", "%s: %w%s", g.plan.facts.program, err, g.stderr.lastLine())
	}
	w := watcher{guest: g, answer: a, opt: opt, goal: a.over}
	end := w.watch(ctx)
	if end.reason == "" && (opt.ReadMemory != nil || opt.Keep) {
		keep = h.afterwards(ctx, g, a, c, opt)
	}
	if !keep {
		g.Close()
	}
	a.fill(c)
	end.judge(c, a, g.console.Bytes())
	c.Console = slices.Concat(saved.consoleBytes(), g.console.Bytes())
	c.Timings["guest"] = time.Since(g.began).Seconds()
	return g.evidence().write(opt.OutDir, c.Console)
}

// concatenate writes the archives one after the other: the kernel takes that,
// if each but the last is padded to four bytes (init/initramfs.c).
func concatenate(path string, archives []string) error {
	out, err := os.Create(path)
	if err != nil {
		return hostError("", "initramfs: %w", err)
	}
	defer out.Close()
	for _, name := range archives {
		if err := appendFile(out, name); err != nil {
			return hostError("", "initramfs: %w", err)
		}
	}
	if err := out.Close(); err != nil {
		return hostError("", "initramfs: %w", err)
	}
	return nil
}

func appendFile(out *os.File, name string) error {
	in, err := os.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	n, err := out.ReadFrom(in)
	if err != nil {
		return err
	}
	_, err = out.Write(make([]byte, -n&3))
	return err
}

// writeJob makes the file behind the job's memory. It is sparse.
func writeJob(path string, job []byte) error {
	if len(job) > jobSize {
		return Usagef("the job has %d MB, the guest takes %d: fewer or smaller modules and files", len(job)>>20, jobSize>>20)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return hostError("", "job: %w", err)
	}
	defer f.Close()
	if _, err := f.Write(job); err != nil {
		return hostError("free some space", "job: %w", err)
	}
	if err := f.Truncate(jobSize); err != nil {
		return hostError("free some space", "job: %w", err)
	}
	return f.Close()
}

// timeout is how much guest time may pass without a message.
func (o RunOptions) timeout() time.Duration {
	return cmp.Or(o.Timeout, defaultTimeout) + cmp.Or(o.waits, agentWaits)
}

// wall bounds the whole run.
func (o RunOptions) wall() time.Duration { return cmp.Or(o.Wall, defaultWall) }
