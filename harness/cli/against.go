package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kmemgate/kmemgate/harness"
	"github.com/kmemgate/kmemgate/reports"
	"github.com/kmemgate/kmemgate/scenarios"
)

// leaksAt gates the driver as it was at a git revision: what leaks there is
// known, so that a pull request fails on what it adds and on nothing else.
func leaksAt(c *cobra.Command, gate *harness.Gate, s *scenarios.Scenario, f runFlags) (_ *reports.Baseline, err error) {
	if f.baseline != "" {
		return nil, harness.Usagef("--baseline and --against: each names what is known; give one")
	}
	temp, err := os.MkdirTemp("", "kmemgate-against-")
	if err != nil {
		return nil, fmt.Errorf("--against: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	dir, err := exportRevision(c.Context(), s.Dir, f.against, temp)
	if err != nil {
		return nil, err
	}
	old, err := loadScenario(dir)
	if err != nil {
		return nil, fmt.Errorf("--against %s: %w", f.against, err)
	}
	if err := f.applyTo(old, c.Flags().Changed); err != nil {
		return nil, err
	}
	measureAs(old, s)
	out, kept := gate.Out, gate.Baseline
	gate.Out, gate.Baseline = filepath.Join(out, "against"), nil
	report, err := gate.Run(c.Context(), old)
	gate.Out = out
	if err != nil {
		return nil, fmt.Errorf("--against %s: %w", f.against, err)
	}
	for _, run := range report.Runs {
		if run.Verdict == reports.None {
			return nil, fmt.Errorf("--against %s: no verdict for %s %s: %s", f.against, run.Kernel, run.Arch, run.Detail)
		}
	}
	known := reports.NewBaseline(*report)
	return reports.MergeBaselines(kept, &known), nil
}

// measureAs has the old driver measured as the new one will be: what raises the
// counts of a leak, or reaches more of the driver, would make old leaks new. The
// script and its files stay the revision's own: they belong to the driver that
// they work, and a new one may ask for what the old driver has not.
func measureAs(old, now *scenarios.Scenario) {
	old.Name, old.Kernels, old.Arches = now.Name, now.Kernels, now.Arches
	old.Cycles, old.ErrorPaths, old.Devices = now.Cycles, now.ErrorPaths, now.Devices
	old.Unload, old.Stack = now.Unload, now.Stack
}

// exportRevision lays the driver's directory as it was at rev into temp and
// returns where. The whole repository comes along: a driver may include
// headers from above its own directory.
func exportRevision(ctx context.Context, dir, rev, temp string) (string, error) {
	prefix, err := git(ctx, dir, "rev-parse", "--show-prefix")
	if err != nil {
		return "", harness.Usagef("--against: %s is in no git repository", dir)
	}
	commit, err := git(ctx, dir, "rev-parse", "--verify", "--quiet", "--end-of-options", rev+"^{commit}")
	if err != nil {
		return "", harness.Usagef("--against %s: no such revision in %s (git fetch it first)", rev, dir)
	}
	top, err := git(ctx, dir, "rev-parse", "--show-toplevel")
	if err != nil {
		return "", fmt.Errorf("--against: %w", err)
	}
	tar := filepath.Join(temp, "tree.tar")
	if _, err := git(ctx, top, "archive", "--output="+tar, commit); err != nil {
		return "", fmt.Errorf("--against %s: %w", rev, err)
	}
	tree := filepath.Join(temp, "tree")
	if err := os.Mkdir(tree, 0o755); err != nil {
		return "", fmt.Errorf("--against: %w", err)
	}
	if out, err := exec.CommandContext(ctx, "tar", "-xf", tar, "-C", tree).CombinedOutput(); err != nil {
		return "", fmt.Errorf("--against %s: unpack: %w: %s", rev, err, bytes.TrimSpace(out))
	}
	return filepath.Join(tree, prefix), nil
}

func git(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", dir}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(string(out)), nil
}
