package cli

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/kmemgate/kmemgate/harness"
	"github.com/kmemgate/kmemgate/kconfig"
	"github.com/kmemgate/kmemgate/kernels"
	"github.com/kmemgate/kmemgate/scenarios"
)

// newGate makes the gate that the flags ask for.
func newGate(c *cobra.Command, f runFlags, s *scenarios.Scenario) (*harness.Gate, error) {
	desk := newDesk(c.ErrOrStderr())
	gate := &harness.Gate{
		Builder: &kernels.Builder{Log: c.ErrOrStderr()},
		Host:    &harness.Host{Log: desk.say, Jobs: f.jobs},
		Out:     f.out,
		LLVM:    f.llvm,
		Flags:   repeated(c),
		Keep:    f.keep,
		Status:  desk.say, Progress: desk.progress,
	}
	if f.verbose {
		gate.Console = desk.console
	}
	var err error
	if gate.Out == "" {
		if gate.Out, err = defaultOut(s); err != nil {
			return nil, err
		}
	}
	if f.config != "" {
		if gate.Config, err = readFragment(f.config); err != nil {
			return nil, err
		}
	}
	gate.Baseline, err = harness.ReadBaseline(baselinePath(s, f.baseline), f.baseline != "" && !f.updateBaseline)
	return gate, err
}

// repeated are the flags that change what a run finds, as they were given. The
// kernel, the architecture and the clock are told of each run.
func repeated(c *cobra.Command) (given []string) {
	for _, name := range []string{
		"against", "allow-warn", "baseline", "cmdline", "config", "cycles", "error-paths", "fail-on", "llvm", "memory", "require-probe", "stack", "timeout",
	} {
		if f := c.Flags().Lookup(name); f != nil && f.Changed {
			given = append(given, "--"+name+"="+f.Value.String())
		}
	}
	return given
}

// defaultOut is a folder of the driver's own in the cache, so that its tree
// stays untouched; the next run of the same driver replaces it.
func defaultOut(s *scenarios.Scenario) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("folder for the evidence: %w: name one with --out", err)
	}
	abs, err := filepath.Abs(s.Dir)
	if err != nil {
		return "", fmt.Errorf("folder for the evidence: %w", err)
	}
	id := sha256.Sum256([]byte(abs))
	return filepath.Join(cache, "kmemgate", "runs", fmt.Sprintf("%s-%x", filepath.Base(abs), id[:4])), nil
}

// readFragment reads --config; "sweep" means sweep.config, the kernel of
// kmemgate sweep. A file of that name is "./sweep".
func readFragment(path string) (*kconfig.Fragment, error) {
	if path == "sweep" {
		frag, err := kconfig.Sweep()
		frag.Name = path // what an error's cure says after --config
		return &frag, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, harness.Usagef("--config: %w", err)
	}
	defer f.Close()
	frag, err := kconfig.Parse(f, path)
	if err != nil {
		return nil, harness.Usagef("--config: %w", err)
	}
	return &frag, nil
}
