package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/kmemgate/kmemgate/reports"
)

// make boots the machine until it waits for its job, saves it to dir, and
// proves the save by a restore.
func (t *Template) make(ctx context.Context, dir string) error {
	begin := time.Now()
	t.host.logf("template: booting %s %s once", t.plan.Kernel.Release, t.plan.Kernel.Arch)
	p := t.plan
	p.ram, p.initrd = filepath.Join(dir, fileRAM), filepath.Join(dir, fileInitrd)
	if err := concatenate(p.initrd, p.Initrd); err != nil {
		return err
	}
	info, err := t.bootAndSave(ctx, dir, p)
	if err != nil {
		return err
	}
	if err := os.Remove(p.initrd); err != nil { // a clone's memory has it
		return hostError("", "template: %w", err)
	}
	if info.Cold == "" {
		if err := digHoles(p.ram); err != nil {
			return hostError("", "template: %w", err)
		}
		if info.Bytes, err = diskBytes(p.ram, filepath.Join(dir, fileState)); err != nil {
			return hostError("", "template: %w", err)
		}
	}
	info.Seconds = time.Since(begin).Seconds()
	return writeJSON(filepath.Join(dir, fileTemplate), info)
}

// bootAndSave leaves RAM, state, answer and console in dir.
func (t *Template) bootAndSave(ctx context.Context, dir string, p plan) (templateInfo, error) {
	g, err := t.host.boot(ctx, p, nil)
	if err != nil {
		return templateInfo{}, err
	}
	defer g.Close()
	info := templateInfo{Command: g.command}
	said := &recorder{}
	if t.machine.Console != nil {
		g.console.follow(t.machine.Console)
	}
	a := g.listen(nil, said)
	if err := g.qmp.Do(ctx, "cont", nil, nil); err != nil {
		return info, hostError("", "template: %w%s", err, g.stderr.lastLine())
	}
	w := watcher{guest: g, answer: a, goal: a.ready}
	if end := w.watch(ctx); end.reason != "" || !a.isReady() {
		return info, t.notReady(ctx, g, a, end)
	}
	state := filepath.Join(dir, fileState)
	if err := g.save(ctx, state); err != nil {
		info.Cold = "QEMU cannot save this machine: " + err.Error()
		return info, dropFiles(p.ram, state)
	}
	before, err := g.devices(ctx)
	if err != nil {
		return info, hostError("", "template: %w", err)
	}
	g.Close()
	if info.Cold = t.prove(ctx, p, state, before); info.Cold != "" {
		return info, dropFiles(p.ram, state)
	}
	err = os.WriteFile(filepath.Join(dir, fileAnswer), said.Bytes(), 0o644)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, fileConsole), g.console.Bytes(), 0o644)
	}
	if err != nil {
		return info, hostError("free some space", "template: %w", err)
	}
	return info, ctx.Err()
}

// notReady keeps what came of a guest that panicked, hung or gave up before
// it was ready. That is the guest's doing: the runs shall report it.
func (t *Template) notReady(ctx context.Context, g *guest, a *answer, end ending) error {
	g.Close()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if endedBy(g.err, syscall.SIGBUS) { // a write to a mapped file found no block for it
		return hostError(cureSpace, "template: the disk is full: no room for the guest's memory")
	}
	c := newCapture(g.plan, "cold", t.note)
	c.BootNote = "the guest did not get as far as to be saved"
	a.fill(c)
	c.Console = g.console.Bytes()
	if end.judge(c, a, c.Console); c.Reason == "" {
		c.Reason, c.Detail = reports.ReasonProtocol, "the guest was done before it had a job"
	}
	t.failed = &outcome{result: *c, evidence: g.evidence()}
	return fmt.Errorf("guest: %s: %s", c.Reason, c.Detail)
}

// endedBy tells whether a command was ended by this signal.
func endedBy(err error, signal syscall.Signal) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == signal
}

func (a *answer) isReady() bool {
	select {
	case <-a.ready:
		return true
	default:
		return false
	}
}

// prove restores the state once and compares the devices: one that does not
// survive says no word, it just stands there without its memory (edu, 7.2).
// The answer is what is wrong, or nothing.
func (t *Template) prove(ctx context.Context, p plan, state string, before devices) string {
	if missing := unsaved(state, before, p.Devices); missing != "" {
		return missing
	}
	dir, err := newTempDir(t.host.Temp)
	if err != nil {
		return err.Error()
	}
	p.role, p.job = roleClone, dir.file("job")
	g, err := t.host.restore(ctx, dir, p, state, nil)
	if err != nil {
		return "a restore failed: " + err.Error()
	}
	defer g.Close()
	after, err := g.devices(ctx)
	if err != nil {
		return "a restore failed: " + err.Error()
	}
	return before.differ(after)
}

// read reads what stands beside RAM and state.
func (t *Template) read() error {
	text, err := os.ReadFile(filepath.Join(t.dir, fileTemplate))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &t.info); err != nil {
		return fmt.Errorf("%s: %w", fileTemplate, err)
	}
	if t.info.Cold != "" {
		return nil
	}
	t.saved = &savedAnswer{}
	if t.saved.wire, err = os.ReadFile(filepath.Join(t.dir, fileAnswer)); err != nil {
		return err
	}
	t.saved.console, err = os.ReadFile(filepath.Join(t.dir, fileConsole))
	return err
}

// recorder keeps what passes through it.
type recorder struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *recorder) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(b)
}

// Bytes is what passed so far.
func (r *recorder) Bytes() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Clone(r.text.Bytes())
}

func dropFiles(paths ...string) error {
	for _, path := range paths {
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			return hostError("", "template: %w", err)
		}
	}
	return nil
}

func writeJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err == nil {
		err = os.WriteFile(path, append(text, '\n'), 0o644)
	}
	if err != nil {
		return hostError("free some space", "write %s: %w", path, err)
	}
	return nil
}
