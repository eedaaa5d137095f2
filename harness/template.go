package harness

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/kmemgate/kmemgate/reports"
)

// The files of a template's cache entry.
const (
	fileRAM      = "ram"           // the guest's memory, sparse
	fileState    = "state"         // QEMU's migration stream without the memory
	fileInitrd   = "initrd"        // archives, concatenated, while it boots
	fileAnswer   = "answer"        // what the agent had said
	fileConsole  = "console.log"   // what the kernel had printed
	fileTemplate = "template.json" // templateInfo
)

// Template is a guest that was booted, settled, read and given its canary, and
// then saved: each run is a copy-on-write clone of it. Where a machine cannot
// be saved, its runs boot cold, and say why.
type Template struct {
	host    *Host
	machine Machine
	plan    plan
	note    string // ClockNote of its runs

	key     string // of the cache entry
	dir     string // where that lies
	release func()
	info    templateInfo
	saved   *savedAnswer

	// failed is what came of a guest that never got ready: the outcome of
	// every run.
	failed *outcome
	// remade says that it stands for one that could not be restored.
	remade bool

	mu  sync.Mutex
	ram string   // dir's, or a copy where that cannot be written to
	own *tempDir // of the copy
}

// templateInfo is template.json.
type templateInfo struct {
	// Cold is why the machine cannot be saved; empty: it was.
	Cold string `json:"cold,omitempty"`
	// Command made it.
	Command string `json:"command"`
	// Seconds is how long that took.
	Seconds float64 `json:"seconds"`
	// Bytes is the disk space of RAM and state.
	Bytes int64 `json:"bytes,omitempty"`
}

// savedAnswer is what a template's guest said and printed before it was saved.
type savedAnswer struct {
	wire    []byte
	console []byte
}

func (s *savedAnswer) wireBytes() []byte {
	if s == nil {
		return nil
	}
	return s.wire
}

func (s *savedAnswer) consoleBytes() []byte {
	if s == nil {
		return nil
	}
	return s.console
}

// Template returns the template of a machine: this process's, the cache's, or
// a new one. Of several that want the same at once one makes it and the others
// wait. It is held in the cache until Host.Close.
func (h *Host) Template(ctx context.Context, m Machine) (*Template, error) {
	p, note, err := h.plan(ctx, m, roleMaker)
	if err != nil {
		return nil, err
	}
	key, err := h.templateKey(ctx, p)
	if err != nil {
		return nil, err
	}
	slot := h.slot(key)
	if err := slot.enter(ctx); err != nil {
		return nil, err
	}
	defer slot.exit()
	if t := h.held(key); t != nil {
		return t, nil
	}
	t := &Template{host: h, machine: m, plan: p, note: note, key: key}
	return t, h.take(ctx, t)
}

// take opens a template for this process; the caller is in its slot.
func (h *Host) take(ctx context.Context, t *Template) error {
	if err := t.open(ctx); err != nil {
		return err
	}
	slot := h.slot(t.key)
	h.mu.Lock()
	defer h.mu.Unlock()
	slot.template = t
	return nil
}

// held is this process's template of a key; nil: there is none.
func (h *Host) held(key string) *Template {
	slot := h.slot(key)
	h.mu.Lock()
	defer h.mu.Unlock()
	return slot.template
}

// templateSlot is one template of this process, made or to be made.
type templateSlot struct {
	turn     chan struct{} // a mutex that heeds a context
	template *Template     // Host.mu
}

func (s *templateSlot) enter(ctx context.Context) error {
	select {
	case s.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *templateSlot) exit() { <-s.turn }

func (h *Host) slot(key string) *templateSlot {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.templates == nil {
		h.templates = map[string]*templateSlot{}
	}
	if h.templates[key] == nil {
		h.templates[key] = &templateSlot{turn: make(chan struct{}, 1)}
	}
	return h.templates[key]
}

// Close gives the templates back to the cache. Nothing may run any more.
func (h *Host) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, slot := range h.templates {
		if slot.template != nil {
			slot.template.close()
		}
	}
	h.templates = nil
}

func (t *Template) close() {
	if t.release != nil {
		t.release()
	}
	if t.own != nil {
		t.own.remove()
	}
}

// open takes the template out of the cache, where it is made if need be.
func (t *Template) open(ctx context.Context) error {
	dir, release, err := t.host.cache().Entry(ctx, "templates", t.key, func(ctx context.Context, dir string) error {
		return t.make(ctx, dir)
	})
	if t.failed != nil {
		return nil // not worth a cache entry: every run tells of it
	}
	if err != nil {
		return err
	}
	t.dir, t.release = dir, release
	if err := t.read(); err != nil {
		release()
		return hostError("kmemgate cache prune", "template %s: %w", t.key, err)
	}
	return nil
}

// Run starts a clone with a job of its own, lets it work and gathers its
// answer. Clones may run side by side.
func (t *Template) Run(ctx context.Context, job []byte, opt RunOptions) (*reports.Capture, error) {
	if now := t.host.held(t.key); now != nil {
		t = now
	}
	if t.failed != nil {
		return t.failed.capture(opt)
	}
	if t.info.Cold != "" {
		return t.runCold(ctx, job, opt, t.info.Cold)
	}
	g, err := t.clone(ctx, job, opt)
	switch {
	case ctx.Err() != nil:
		c := newCapture(t.plan, "clone", t.note)
		c.Reason, c.Detail = reports.ReasonInterrupted, context.Cause(ctx).Error()
		return c, nil
	case err != nil:
		return t.runAnew(ctx, job, opt, err)
	}
	c := newCapture(g.plan, "clone", t.note)
	return c, t.host.finish(ctx, g, t.saved, c, opt)
}

// runCold is for what cannot be cloned.
func (t *Template) runCold(ctx context.Context, job []byte, opt RunOptions, why string) (*reports.Capture, error) {
	return t.host.bootCold(ctx, t.machine, job, opt, why)
}

// clone starts QEMU on the template's memory and restores the state. The
// guest stands still; its job is in place.
func (t *Template) clone(ctx context.Context, job []byte, opt RunOptions) (*guest, error) {
	ram, err := t.writableRAM()
	if err != nil {
		return nil, err
	}
	dir, err := newTempDir(t.host.Temp)
	if err != nil {
		return nil, err
	}
	p := t.plan
	p.role, p.orphan, p.debug, p.idle = roleClone, opt.Keep, opt.Debugger != nil, opt.Terminal != nil
	p.extra = p.doors(dir)
	p.ram, p.job = ram, dir.file("job")
	return t.host.restore(ctx, dir, p, filepath.Join(t.dir, fileState), job)
}

// writableRAM is a memory file that QEMU can open: it opens it for writing
// even where it maps it privately (7.2, util/mmap-alloc.c). In a cache that
// cannot be written to it has to be a copy.
func (t *Template) writableRAM() (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ram != "" {
		return t.ram, nil
	}
	ram := filepath.Join(t.dir, fileRAM)
	if unix.Access(ram, unix.W_OK) == nil {
		t.ram = ram
		return ram, nil
	}
	dir, err := newTempDir(t.host.Temp)
	if err != nil {
		return "", err
	}
	t.own = dir
	if err := copySparse(dir.file(fileRAM), ram); err != nil {
		return "", hostError("free some space", "copy the template's memory: %w", err)
	}
	t.ram = dir.file(fileRAM)
	return t.ram, nil
}

// outcome is a guest that never got ready.
type outcome struct {
	result   reports.Capture
	evidence evidence
}

// capture is the outcome as a run of its own.
func (o *outcome) capture(opt RunOptions) (*reports.Capture, error) {
	c := o.result
	return &c, o.evidence.write(opt.OutDir, c.Console)
}

// diskBytes is the space that files take, holes left out.
func diskBytes(paths ...string) (int64, error) {
	var total int64
	for _, path := range paths {
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			return 0, fmt.Errorf("stat %s: %w", path, err)
		}
		total += st.Blocks * 512
	}
	return total, nil
}
