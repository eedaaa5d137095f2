package cli

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kmemgate/kmemgate/harness"
	"github.com/kmemgate/kmemgate/kconfig"
	"github.com/kmemgate/kmemgate/reports/render"
	"github.com/kmemgate/kmemgate/scenarios"
)

// sweepFlags are the flags of sweep beside those it shares with run.
type sweepFlags struct {
	run   runFlags
	shard string
	skip  string
	list  string
	extra []string
	group int
}

func newSweep() *cobra.Command {
	var f sweepFlags
	c := &cobra.Command{
		Use:   "sweep [MODULE...]",
		Short: "Load and unload the modules of a kernel build, and judge each",
		Long: `Sweep judges the modules of a kernel, many in one guest: those that a MODULE
means by name (dm_*), path (drivers/net/*) or directory (crypto), or all. The
kernel has sweep.config, some 60 modules that build quickly; --config names
another fragment in its place.

What refuses to load is not applicable, with the reason; what panics, hangs or
stays loaded has no verdict and is kept from the others. A sweep that was
stopped goes on when it is typed again.

Exit status: 0 nothing new, 1 new leaks, 2 wrong usage, 3 no verdict for some module.`,
		Example: `  kmemgate sweep --kernel 6.12
  kmemgate sweep --kernel 6.12 --arch arm64 --shard 2/3 --out out
  kmemgate sweep --error-paths 'dm_*' crypto
  kmemgate sweep --config my.config --list my.config.modules --skip slow.txt`,
		RunE: func(c *cobra.Command, args []string) error { return sweep(c, args, f) },
	}
	fl := c.Flags()
	fl.StringArrayVar(&f.run.kernels, "kernel", nil, "kernel, as run takes it (repeats; default 6.12)")
	fl.StringArrayVar(&f.run.arches, "arch", nil, "architecture: x86_64 or arm64 (repeats; default the host's)")
	fl.StringVar(&f.run.out, "out", "", "folder for report.json and the evidence (default: in the cache)")
	fl.IntVar(&f.run.jobs, "jobs", 0, "guests side by side (default: cores)")
	fl.StringVar(&f.shard, "shard", "", "i/n: every n-th module, from the i-th on")
	fl.StringVar(&f.skip, "skip", "", "file of modules to leave out, a line each: PATTERN  # reason")
	fl.StringVar(&f.list, "list", "", "file of modules to take, a line each, e.g. a modules.order")
	fl.StringArrayVar(&f.extra, "extra", nil, "directory of a driver whose modules are swept too, in place of the kernel's of their names (repeats)")
	fl.IntVar(&f.group, "group", 0, "modules in one guest, at most (default 32)")
	fl.StringVar(&f.run.errorPaths, "error-paths", "", "then fail each allocation of each load once; =all: the loader's too")
	fl.Lookup("error-paths").NoOptDefVal = "true"
	fl.StringVar(&f.run.config, "config", "", "fragment of kernel options in place of sweep.config")
	fl.BoolVar(&f.run.llvm, "llvm", false, "build the kernel with clang (LLVM=1)")
	fl.StringVar(&f.run.clock, "clock", "", "warp (guest time is free) or real (SMP, KVM, races)")
	fl.StringVar(&f.run.memory, "memory", "", "the guests' memory, e.g. 256M")
	fl.StringVar(&f.run.cmdline, "cmdline", "", "more kernel arguments")
	fl.DurationVar(&f.run.timeout, "timeout", 0, "guest time after which a load or unload has hung (default 60s)")
	fl.StringVar(&f.run.baseline, "baseline", "", "file of known leaks")
	fl.StringVar(&f.run.failOn, "fail-on", "", "new, any or never (default new)")
	fl.BoolVar(&f.run.allowWarn, "allow-warn", false, "a WARN in dmesg does not void the verdict")
	fl.StringVar(&f.run.format, "format", "text", "what goes to stdout: one of "+strings.Join(render.Formats(), ", "))
	fl.BoolVarP(&f.run.verbose, "verbose", "v", false, "show the guests' consoles")
	completeWords(c, "clock", "warp", "real")
	completeWords(c, "fail-on", "new", "any", "never")
	completeWords(c, "format", render.Formats()...)
	return c
}

func sweep(c *cobra.Command, patterns []string, f sweepFlags) error {
	if err := fitsStdout(f.run.format, c.OutOrStdout()); err != nil {
		return err
	}
	scenario, err := scenarios.Parse("sweep", nil)
	if err != nil {
		return err
	}
	scenario.Name = "sweep"
	if err := f.run.applyTo(scenario, c.Flags().Changed); err != nil {
		return err
	}
	choice, err := f.choice(patterns)
	if err != nil {
		return err
	}
	if f.run.out == "" {
		if f.run.out, err = sweepOut(c, f, scenario, choice); err != nil {
			return err
		}
	}
	scenario.Dir = f.run.out // where a baseline is looked for
	gate, err := newGate(c, f.run, scenario)
	if err != nil {
		return err
	}
	defer gate.Close()
	if f.run.config == "" {
		fragment, err := kconfig.Sweep()
		if err != nil {
			return err
		}
		gate.Config = &fragment
	}
	s := harness.Sweep{Gate: gate, Scenario: scenario, Choice: choice, Extra: f.extra, Group: f.group}
	report, err := s.Run(c.Context())
	if errors.Is(err, context.Canceled) {
		fmt.Fprintf(c.ErrOrStderr(), "what is judged is kept in %s: type the same command to go on\n", gate.Out)
	}
	if err != nil {
		return asUsage(err)
	}
	if err := present(c, *report, scenario, gate.Out, f.run.format); err != nil {
		return err
	}
	return outcome(*report, report.Fails(scenario.FailOn))
}

// choice is which modules the arguments and files ask for.
func (f sweepFlags) choice(patterns []string) (choice harness.Choice, err error) {
	if f.group < 0 {
		return choice, harness.Usagef("--group %d: want 1 or more", f.group)
	}
	choice.Patterns = patterns
	if f.list != "" {
		text, err := os.ReadFile(f.list)
		if err != nil {
			return choice, harness.Usagef("--list: %w", err)
		}
		for line := range strings.Lines(string(text)) {
			if line, _, _ = strings.Cut(line, "#"); strings.TrimSpace(line) != "" {
				// modules.order of kernels up to 5.2 begins each with "kernel/"
				choice.Patterns = append(choice.Patterns, strings.TrimPrefix(strings.TrimSpace(line), "kernel/"))
			}
		}
		if len(choice.Patterns) == 0 {
			return choice, harness.Usagef("--list %s: names no module", f.list)
		}
	}
	if f.skip != "" {
		text, err := os.ReadFile(f.skip)
		if err != nil {
			return choice, harness.Usagef("--skip: %w", err)
		}
		if choice.Skip, err = harness.ParseSkips(f.skip, text); err != nil {
			return choice, err
		}
	}
	if f.shard != "" {
		choice.Shard, choice.Shards, err = harness.ParseShard(f.shard)
	}
	return choice, err
}

// sweepOut is a folder in the cache, one for each thing that is swept: the same
// command finds again what it has judged, and another one beside it is not in
// its way.
func sweepOut(c *cobra.Command, f sweepFlags, s *scenarios.Scenario, choice harness.Choice) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("folder for the evidence: %w: name one with --out", err)
	}
	what, err := json.Marshal([]any{s.Kernels, s.Arches, s.Clock, repeated(c), f.extra, f.group, choice})
	if err != nil {
		return "", fmt.Errorf("folder for the evidence: %w", err)
	}
	id := sha256.Sum256(what)
	return filepath.Join(cache, "kmemgate", "runs", fmt.Sprintf("sweep-%x", id[:4])), nil
}
