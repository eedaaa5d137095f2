package cli

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"github.com/kmemgate/kmemgate/harness"
	"github.com/kmemgate/kmemgate/reports"
	"github.com/kmemgate/kmemgate/reports/render"
	"github.com/kmemgate/kmemgate/scenarios"
)

// runFlags are the flags of run. Those that kmemgate.yml knows as well
// override it where they are given.
type runFlags struct {
	kernels, arches []string
	clock           string
	cycles          int
	errorPaths      string
	failOn          string
	allowWarn       bool
	requireProbe    bool
	stack           string
	memory          string
	cmdline         string
	timeout         time.Duration

	config         string
	llvm           bool
	out            string
	jobs           int
	baseline       string
	updateBaseline bool
	against        string
	format         string
	keep           bool
	verbose        bool
}

func newRun() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run [DIR]",
		Short: "Gate a driver directory: build, load, work, unload, scan, judge",
		Long: `Run gates the driver in DIR (default: the current directory): a directory with
kmemgate.yml, dkms.conf, a Kbuild file or a Makefile.

Exit status: 0 nothing new, 1 new leaks, 2 wrong usage, 3 no verdict in some run.`,
		Example: `  kmemgate run
  kmemgate run scenarios/leak-on-exit
  kmemgate run --kernel 6.1 --kernel 6.12 --arch x86_64 --arch arm64 --out out DIR
  kmemgate run --against origin/main        # only what this branch adds fails
  kmemgate run --update-baseline            # accept what leaks today`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			return run(c, dir, f)
		},
	}
	fl := c.Flags()
	fl.StringArrayVar(&f.kernels, "kernel", nil, "kernel: series, version, debian:SERIES, URL#sha256=…, directory (repeats; default 6.12)")
	fl.StringArrayVar(&f.arches, "arch", nil, "architecture: x86_64 or arm64 (repeats; default the host's)")
	fl.StringVar(&f.out, "out", "", "folder for report.json and the evidence (default: in the cache)")
	fl.IntVar(&f.jobs, "jobs", 0, "guests side by side (default: cores)")
	fl.StringVar(&f.clock, "clock", "", "warp (guest time is free) or real (SMP, KVM, races)")
	fl.IntVar(&f.cycles, "cycles", 0, "load, exercise and unload this often")
	fl.StringVar(&f.errorPaths, "error-paths", "", "fail each allocation of the load once; =exercise: of the script, =all: others' too, =N: that one alone")
	fl.Lookup("error-paths").NoOptDefVal = "true"
	fl.StringVar(&f.baseline, "baseline", "", "file of known leaks (default: kmemgate-baseline.json beside the driver, if there)")
	fl.BoolVar(&f.updateBaseline, "update-baseline", false, "write today's leaks to the baseline")
	fl.StringVar(&f.against, "against", "", "git revision of the driver whose leaks are known")
	fl.StringVar(&f.failOn, "fail-on", "", "new, any or never (default new)")
	fl.BoolVar(&f.allowWarn, "allow-warn", false, "a WARN in dmesg does not void the verdict")
	fl.BoolVar(&f.requireProbe, "require-probe", false, "no verdict where the driver bound no device")
	fl.StringVar(&f.stack, "stack", "", "on or off: whether kmemleak scans task stacks")
	fl.StringVar(&f.memory, "memory", "", "the guest's memory, e.g. 256M")
	fl.StringVar(&f.cmdline, "cmdline", "", "more kernel arguments")
	fl.DurationVar(&f.timeout, "timeout", 0, "guest time after which a run has hung (default 60s)")
	fl.StringVar(&f.config, "config", "", "fragment of kernel options on top of the base")
	fl.BoolVar(&f.llvm, "llvm", false, "build kernel and modules with clang (LLVM=1)")
	fl.StringVar(&f.format, "format", "text", "what goes to stdout: one of "+strings.Join(render.Formats(), ", "))
	fl.BoolVar(&f.keep, "keep", false, "leave the guest paused after its verdict")
	fl.BoolVarP(&f.verbose, "verbose", "v", false, "show the guest's console")
	completeWords(c, "clock", "warp", "real")
	completeWords(c, "fail-on", "new", "any", "never")
	completeWords(c, "format", render.Formats()...)
	completeWords(c, "stack", "on", "off")
	return c
}

func completeWords(c *cobra.Command, flag string, words ...string) {
	_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

// run is the whole of `kmemgate run`: from flags to report and verdict.
func run(c *cobra.Command, dir string, f runFlags) error {
	if err := fitsStdout(f.format, c.OutOrStdout()); err != nil {
		return err
	}
	scenario, err := loadScenario(dir)
	if err != nil {
		return err
	}
	if err := f.applyTo(scenario, c.Flags().Changed); err != nil {
		return err
	}
	gate, err := newGate(c, f, scenario)
	if err != nil {
		return err
	}
	defer gate.Close()
	report, err := gated(c, gate, scenario, f)
	if err != nil {
		return err
	}
	if err := present(c, *report, scenario, gate.Out, f.format); err != nil {
		return err
	}
	if f.updateBaseline {
		return updateBaseline(c.ErrOrStderr(), baselinePath(scenario, f.baseline), *report)
	}
	return outcome(*report, report.Fails(scenario.FailOn))
}

// gated runs the gate, and before it what its baseline is made of, as one group
// of the log.
func gated(c *cobra.Command, gate *harness.Gate, s *scenarios.Scenario, f runFlags) (_ *reports.Report, err error) {
	defer group(c.ErrOrStderr(), "kmemgate: "+s.Name)()
	if f.against != "" {
		if gate.Baseline, err = leaksAt(c, gate, s, f); err != nil {
			return nil, err
		}
	}
	return gate.Run(c.Context(), s)
}

// group folds what follows in the log of a GitHub runner, until the function it
// returns is called.
func group(w io.Writer, title string) (end func()) {
	if os.Getenv("GITHUB_ACTIONS") != "true" {
		return func() {}
	}
	fmt.Fprintf(w, "::group::%s\n", strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(title))
	return func() { fmt.Fprintln(w, "::endgroup::") }
}

// present writes the report to stdout. At the end a person always sees the
// verdict, where the evidence lies and the line that reproduces it: on stderr,
// where stdout is for a program.
func present(c *cobra.Command, report reports.Report, s *scenarios.Scenario, out, format string) error {
	opt := renderOptions(c.OutOrStdout(), format)
	opt.OutDir = out
	if len(s.Build) > 0 {
		opt.SourceDir = relativeTo(".", s.Dir)
	}
	if err := render.Write(c.OutOrStdout(), report, opt); err != nil {
		return err
	}
	if format == "text" { // which says so itself
		return nil
	}
	shown := renderOptions(c.ErrOrStderr(), "text")
	shown.OutDir = out
	return render.Ending(c.ErrOrStderr(), report, shown)
}

// relativeTo is path as seen from dir, where it lies below it; an annotation
// wants the path in the repository.
func relativeTo(dir, path string) string {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return path
	}
	rel, err := filepath.Rel(abs, path)
	if err != nil || strings.HasPrefix(rel, "..") {
		return path
	}
	return rel
}

// outcome is what the exit status is made of. A leak that fails nothing (fail-on
// never, or it now stands in the baseline) is excused, a run without a verdict
// is not.
func outcome(report reports.Report, fails bool) error {
	if report.Verdict != reports.Leaks || fails {
		return asVerdict(report.Verdict)
	}
	if report.NoVerdict() {
		return asVerdict(reports.None)
	}
	return nil
}

// asVerdict is nil for a clean report, else the error that the exit status is
// made of.
func asVerdict(v reports.Verdict) error {
	if v == reports.Clean {
		return nil
	}
	return verdictError{v}
}

// fitsStdout refuses to write what is no text to a terminal, before anything is
// done.
func fitsStdout(format string, stdout io.Writer) error {
	if format == "pprof" && isTerminal(stdout) {
		return harness.Usagef("--format pprof is binary, and stdout a terminal: add > leaks.pprof")
	}
	return nil
}

func knownFormat(format string) error {
	if slices.Contains(render.Formats(), format) {
		return nil
	}
	return harness.Usagef("--format %s: want one of %s", format, strings.Join(render.Formats(), ", "))
}

func loadScenario(dir string) (*scenarios.Scenario, error) {
	if st, err := os.Stat(dir); err != nil {
		return nil, harness.Usagef("%s: no such directory", dir)
	} else if !st.IsDir() {
		return nil, harness.Usagef("%s is a file: name the directory that holds the driver", dir)
	}
	s, err := scenarios.Load(dir)
	if err != nil {
		return nil, harness.Usagef("%w", err)
	}
	return s, nil
}

// baselinePath is where the known leaks of a scenario stand.
func baselinePath(s *scenarios.Scenario, flag string) string {
	if flag != "" {
		return flag
	}
	return harness.BaselinePath(s)
}

// updateBaseline makes today's leaks the known ones. Over what no baseline can
// hold it stays as it was: a run without a verdict, whose leaks nobody has seen,
// and a walk's oops, panic or hang.
func updateBaseline(stderr io.Writer, path string, report reports.Report) error {
	const kept = "the baseline stays as it was"
	if report.NoVerdict() || report.Verdict == reports.Skipped {
		fmt.Fprintf(stderr, "kmemgate: --update-baseline: not every run has a verdict: %s\n", kept)
		return asVerdict(reports.None)
	}
	if finding := reports.Beyond(report); finding != "" {
		fmt.Fprintf(stderr, "kmemgate: --update-baseline: %s, and that is no leak: %s\n", finding, kept)
		return asVerdict(report.Verdict)
	}
	var text bytes.Buffer
	if err := reports.WriteBaseline(&text, reports.NewBaseline(report)); err != nil {
		return err
	}
	if err := renameio.WriteFile(path, text.Bytes(), 0o644); err != nil {
		return fmt.Errorf("--update-baseline: %w", err)
	}
	fmt.Fprintf(stderr, "baseline: %s\n", path)
	return outcome(report, false)
}
