package harness

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kmemgate/kmemgate/reports"
)

// capture runs a cell, and beside it its control run, and leaves the evidence
// in the cell's folder, which it returns.
func (g *Gate) capture(ctx context.Context, c cell) (*reports.Capture, string, error) {
	dir := g.folder(c)
	if err := emptyFolder(dir); err != nil {
		return nil, "", err
	}
	begin := time.Now()
	capture, err := g.runGuests(ctx, c, dir)
	if err != nil {
		return nil, "", err
	}
	capture.Started = begin.UTC().Format(time.RFC3339)
	return capture, dir, g.describe(ctx, c, capture, dir)
}

// describe adds what the guest did not know of itself, and writes the capture.
func (g *Gate) describe(ctx context.Context, c cell, capture *reports.Capture, dir string) (err error) {
	capture.Scenario = c.scenario.Name
	capture.SourceDir = c.sourceDir()
	capture.Command = g.reproduce(c)
	capture.Modules = c.capturedModules()
	capture.Dir = dir
	if capture.Built, err = c.built(ctx); err != nil {
		return err
	}
	if capture.RunDir, err = filepath.Rel(g.Out, dir); err != nil {
		return fmt.Errorf("run folder: %w", err)
	}
	return reports.WriteCapture(dir, capture)
}

// built identifies the bits that the cell tests.
func (c cell) built(ctx context.Context) (*reports.Built, error) {
	if c.kernel == nil || c.failure != nil {
		return nil, nil
	}
	job, _, err := c.jobs()
	if err != nil {
		return nil, err
	}
	config, err := os.ReadFile(c.kernel.Config)
	if err != nil {
		return nil, hostError("", "kernel config: %w", err)
	}
	commit := ""
	if _, err := os.Stat(filepath.Join(c.kernel.Source, ".git")); err == nil {
		commit, _ = git(ctx, c.kernel.Source, "rev-parse", "HEAD") // one without a commit has none
	}
	content := sha256.New()
	fmt.Fprintf(content, "%s %s\n", c.kernel.Key, c.scenario.Clock)
	content.Write(job.region)
	return &reports.Built{
		Commit:    commit,
		Config:    fmt.Sprintf("%x", sha256.Sum256(config)),
		Toolchain: c.kernel.Compiler,
		Content:   hex.EncodeToString(content.Sum(nil)),
	}, nil
}

// sourceDir is what the file names in leaks are relative to.
func (c cell) sourceDir() string {
	if len(c.scenario.Build) == 0 && c.kernel != nil {
		return c.kernel.Source
	}
	return c.scenario.Dir
}

// name tells the cell from others: kernel, architecture, scenario.
func (c cell) name() []string { return []string{c.kernel.Release, c.arch, c.scenario.Name} }

// emptyFolder makes the folder anew: evidence of an earlier run must not be
// taken for this one's.
func emptyFolder(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return hostError("", "run folder: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return hostError("", "run folder: %w", err)
	}
	return nil
}

func (g *Gate) runGuests(ctx context.Context, c cell, dir string) (*reports.Capture, error) {
	if f := c.failure; f != nil {
		return f.capture(c), nil
	}
	job, control, err := c.jobs()
	if err != nil {
		return nil, err
	}
	if err := c.keepInputs(dir, job); err != nil {
		return nil, err
	}
	m, err := g.machine(ctx, c)
	if err != nil {
		return nil, err
	}
	capture, controlled, err := g.runPair(ctx, m, job, control, RunOptions{
		Timeout: c.scenario.Timeout, OutDir: dir, Keep: g.Keep, Console: g.console(c.name()...), ReadMemory: reports.OrphanMemory,
	})
	if err != nil {
		return nil, err
	}
	if capture.Before == nil && capture.Reason == "" {
		capture.Before = []byte{} // read, and nothing was there: not the same as not read
	}
	capture.Control = controlled.Last
	capture.KeptLoaded = job.KeepLoaded
	if capture.Reason == "" && controlled.Reason != "" {
		capture.Reason, capture.Detail = controlled.Reason, "in the control run: "+controlled.Detail
	}
	return capture, nil
}

// runPair runs the job and its control, side by side.
func (g *Gate) runPair(ctx context.Context, m Machine, job, control guestJob, opt RunOptions) (run, controlled *reports.Capture, err error) {
	start, startControl, err := g.starters(ctx, m)
	if err != nil {
		return nil, nil, err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		run, err = start(ctx, job.region, opt)
		return err
	})
	group.Go(func() (err error) {
		controlled, err = startControl(ctx, control.region, RunOptions{Timeout: opt.Timeout})
		return err
	})
	return run, controlled, group.Wait()
}

// starters are how guests of this machine are started, and those of control
// runs: as clones of a template where the clock is warped, booted cold where it
// is real and every run is different anyway.
func (g *Gate) starters(ctx context.Context, m Machine) (start, startControl startFunc, err error) {
	if m.Clock == ClockReal {
		boot := func(ctx context.Context, job []byte, opt RunOptions) (*reports.Capture, error) {
			return g.Host.bootCold(ctx, m, job, opt, "under clock: real no two runs are alike, so that there is no template")
		}
		return boot, boot, nil
	}
	t, err := g.Host.Template(ctx, m)
	if err != nil {
		return nil, nil, err
	}
	return t.Run, t.RunControl, nil
}

// starter is the first of the starters.
func (g *Gate) starter(ctx context.Context, m Machine) (startFunc, error) {
	start, _, err := g.starters(ctx, m)
	return start, err
}

// capture is what is left of a run that never had a guest.
func (f *failure) capture(c cell) *reports.Capture {
	out := &reports.Capture{Kernel: c.source, Arch: c.arch, Clock: c.scenario.Clock}
	if c.kernel != nil {
		out.Kernel = c.kernel.Release
	}
	if f.verdict == reports.Skipped {
		out.Skipped = f.detail
		return out
	}
	out.Reason, out.Detail = f.reason, f.detail
	return out
}
