package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kmemgate/kmemgate/harness"
	"github.com/kmemgate/kmemgate/reports/render"
	"github.com/kmemgate/kmemgate/scenarios"
)

// bisectFlags are the flags of bisect beside those it shares with run.
type bisectFlags struct {
	run       runFlags
	good, bad string
	tree      string
	times     int
	leak      string
}

func newBisect() *cobra.Command {
	var f bisectFlags
	c := &cobra.Command{
		Use:   "bisect [DIR]",
		Short: "Name the commit, or the kernel, that brought a leak in",
		Long: `Bisect tests both ends and then, as git bisect run does, what lies between them:

  --good REV [--bad REV]               the history of the driver in DIR, with one kernel
  --kernel A --kernel B --kernel C …   a list of kernels, from a good one to a bad one
  --tree LINUX --good REV [--bad REV]  the history of a kernel tree, built incrementally

The leak is what the bad end shows and the good one does not. A version without
a verdict, or with another leak, is skipped. Git works in a clone in --out; your
tree is not touched. What is left there: a folder for each step, the report of
the first bad version, and mail.txt, a text for a kernel list.

Exit status: 0 the first bad version is named, 2 wrong usage, 3 it is not.`,
		Example: `  kmemgate bisect --good v1.2 drivers/foo
  kmemgate bisect --kernel 6.1 --kernel 6.6 --kernel 6.12 drivers/foo
  kmemgate bisect --tree ~/linux --good v6.11 --bad v6.12 drivers/foo`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			return bisect(c, dir, f)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.good, "good", "", "git revision without the leak")
	fl.StringVar(&f.bad, "bad", "HEAD", "git revision with the leak")
	fl.StringVar(&f.tree, "tree", "", "git tree of the kernel: its history is searched, not the driver's")
	fl.IntVar(&f.times, "times", 0, "test a version this often before it counts as good (default 1; 3 with --clock real)")
	fl.StringVar(&f.leak, "leak", "", "title or signature of the leak to look for (default: any that the good end has not)")
	fl.StringArrayVar(&f.run.kernels, "kernel", nil, "kernel: one to test the driver's history with, or two and more to search")
	fl.StringArrayVar(&f.run.arches, "arch", nil, "architecture: x86_64 or arm64 (default the host's)")
	fl.StringVar(&f.run.out, "out", "", "folder for the evidence (default: in the cache)")
	fl.StringVar(&f.run.clock, "clock", "", "warp (guest time is free) or real (SMP, KVM, races)")
	fl.IntVar(&f.run.cycles, "cycles", 0, "load, exercise and unload this often")
	fl.StringVar(&f.run.errorPaths, "error-paths", "", "fail each allocation of the load once; =exercise: of the script, =all: others' too, =N: that one alone")
	fl.Lookup("error-paths").NoOptDefVal = "true"
	fl.DurationVar(&f.run.timeout, "timeout", 0, "guest time after which a run has hung (default 60s)")
	fl.StringVar(&f.run.config, "config", "", "fragment of kernel options on top of the base")
	fl.BoolVarP(&f.run.verbose, "verbose", "v", false, "show the guest's console")
	completeWords(c, "clock", "warp", "real")
	return c
}

func bisect(c *cobra.Command, dir string, f bisectFlags) (err error) {
	f.run.format = "text"
	scenario, err := loadScenario(dir)
	if err != nil {
		return err
	}
	if err := f.run.applyTo(scenario, c.Flags().Changed); err != nil {
		return err
	}
	if err := f.onePair(scenario); err != nil {
		return err
	}
	gate, err := newGate(c, f.run, scenario)
	if err != nil {
		return err
	}
	defer gate.Close()
	if f.run.out == "" {
		gate.Out += "-bisect"
	}
	versions, err := f.versions(c, scenario, gate.Out)
	if err != nil {
		return err
	}
	if closer, ok := versions.(io.Closer); ok {
		defer func() { err = errors.Join(err, closer.Close()) }()
	}
	b := harness.Bisect{Gate: gate, Versions: versions, Times: f.times, Leak: f.leak}
	if f.times == 0 && scenario.Clock == harness.ClockReal {
		b.Times = 3 // under warp a run repeats to the byte: once says it all
	}
	result, err := b.Run(c.Context())
	if err != nil {
		return err
	}
	return presentBisect(c.OutOrStdout(), result, gate.Out)
}

// onePair leaves one architecture and, unless kernels are what is searched, one
// kernel: a history cannot be bad on one and good on the other.
func (f bisectFlags) onePair(s *scenarios.Scenario) error {
	switch {
	case f.times < 0:
		return harness.Usagef("--times %d: want 1 or more", f.times)
	case len(f.run.arches) > 1:
		return harness.Usagef("bisect: one --arch at a time")
	case f.searchesKernels() && f.good+f.tree != "":
		return harness.Usagef("bisect: either --good, or a list of two and more --kernel")
	case f.tree != "" && len(f.run.kernels) > 0:
		return harness.Usagef("bisect: --tree is the kernel: leave --kernel out")
	case !f.searchesKernels() && f.good == "":
		return harness.Usagef("bisect: --good: name a revision without the leak, or two and more --kernel")
	}
	s.Kernels = s.Kernels[:1]
	if len(f.run.arches) == 0 {
		for _, arch := range s.Arches {
			if arch == hostArch() {
				s.Arches[0] = arch
			}
		}
	}
	s.Arches = s.Arches[:1]
	return nil
}

func (f bisectFlags) searchesKernels() bool { return len(f.run.kernels) > 1 }

// versions are what the flags ask to be searched.
func (f bisectFlags) versions(c *cobra.Command, s *scenarios.Scenario, out string) (harness.Versions, error) {
	switch {
	case f.searchesKernels():
		return harness.NewKernelList(s, f.run.kernels)
	case f.tree != "":
		return harness.NewKernelHistory(c.Context(), s, f.tree, f.good, f.bad, out)
	}
	return harness.NewDriverHistory(c.Context(), s, f.good, f.bad, out)
}

// presentBisect prints what was found, with the report in the mail format.
func presentBisect(w io.Writer, r *harness.BisectResult, out string) error {
	for _, s := range r.Steps {
		fmt.Fprintln(w, strings.TrimSpace(fmt.Sprintf("%-4s  %s  %s", s.Outcome, s.Title, s.Why)))
	}
	if r.First == nil {
		fmt.Fprintf(w, "\nThe first bad version is one of these; those but the last gave no verdict:\n  %s\nevidence: %s\n", strings.Join(r.Suspects, "\n  "), out)
		return errors.New("bisect: the first bad version is not named: versions around it give no verdict")
	}
	fmt.Fprintf(w, "\n%s is the first bad version: %s\nevidence: %s\n\n%s\n\n", r.First.Version, r.First.Why, out, r.About)
	path := filepath.Join(out, "mail.txt")
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("bisect: %w", err)
	}
	opt := render.Options{Format: "mail", OutDir: out, Introduced: r.About}
	err = errors.Join(render.Write(io.MultiWriter(f, w), r.First.Report, opt), f.Close())
	if err != nil {
		return fmt.Errorf("bisect: %s: %w", path, err)
	}
	return nil
}
