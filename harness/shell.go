package harness

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"

	"github.com/kmemgate/kmemgate/initramfs"
	"github.com/kmemgate/kmemgate/initramfs/wire"
	"github.com/kmemgate/kmemgate/kernels"
	"github.com/kmemgate/kmemgate/scenarios"
)

// ShellOptions are what a person at a guest's prompt works with.
type ShellOptions struct {
	In  io.Reader // what they type
	Out io.Writer // the guest's console
	// Debugger has the guest wait for a debugger; it is called with the line
	// that attaches one, and then with one for each module that names its symbols.
	Debugger func(line string)
}

// Shell gives a person the guest in which the scenario would run, with its
// modules at hand and a prompt, until they leave it.
func (g *Gate) Shell(ctx context.Context, s *scenarios.Scenario, opt ShellOptions) error {
	if len(s.Kernels) != 1 || len(s.Arches) != 1 {
		return Usagef("%s names %d kernels and %d architectures: choose one with --kernel and --arch", s.Name, len(s.Kernels), len(s.Arches))
	}
	c, err := g.buildCell(ctx, s, s.Kernels[0], s.Arches[0])
	if err != nil {
		return err
	}
	if f := c.failure; f != nil {
		return fmt.Errorf("%s: %s", cmp.Or(f.reason, string(f.verdict)), f.detail)
	}
	job, _, err := c.jobs()
	if err != nil {
		return err
	}
	job.Shell = true
	region, err := initramfs.JobRegion(job.Job, job.files)
	if err != nil {
		return err
	}
	m, err := g.machine(ctx, c)
	if err != nil {
		return err
	}
	m.Console = nil // the template's; this one's comes when it is there
	start, err := g.starter(ctx, m)
	if err != nil {
		return err
	}
	// What the kernel prints before is about its clock, which has jumped from
	// the template's time to this one's.
	screen := &outputFrom{mark: []byte(wire.ShellGreeting), out: opt.Out}
	run := RunOptions{Terminal: opt.In, Console: screen}
	if opt.Debugger != nil {
		run.Debugger = func(line string) {
			opt.Debugger("the guest waits for: " + line)
			for _, m := range c.modules {
				opt.Debugger(symbolsHint(m))
			}
		}
	}
	capture, err := start(ctx, region, run)
	if err != nil {
		return err
	}
	if capture.Reason != "" {
		return fmt.Errorf("the guest ended: %s: %s", capture.Reason, capture.Detail)
	}
	return nil
}

// symbolsHint tells a person at a debugger how to get at a module's symbols: where
// it comes to lie is known when it is loaded.
func symbolsHint(m kernels.Module) string {
	return fmt.Sprintf("%s, once loaded: add-symbol-file %s ADDRESS, which the guest has in /sys/module/%s/sections/.text", m.Name, shellQuote(m.Path), m.Name)
}

// outputFrom passes on what comes from a mark on.
type outputFrom struct {
	mark   []byte
	out    io.Writer
	held   []byte // the end of what came: it may be the mark's beginning
	marked bool
}

func (o *outputFrom) Write(b []byte) (int, error) {
	if o.marked {
		return o.out.Write(b)
	}
	o.held = append(o.held, b...)
	i := bytes.Index(o.held, o.mark)
	if i < 0 {
		o.held = o.held[max(0, len(o.held)-len(o.mark)):]
		return len(b), nil
	}
	o.marked = true
	_, err := o.out.Write(o.held[i:])
	return len(b), err
}
