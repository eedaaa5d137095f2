// Package cli is the kmemgate command: flags in, a report on stdout, progress
// on stderr, and the exit status, which is mapped here and nowhere else.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/kmemgate/kmemgate/harness"
	"github.com/kmemgate/kmemgate/reports"
)

// The exit statuses: a contract, documented in the README.
const (
	exitClean = 0 // nothing new
	exitLeaks = 1 // new orphans, or a finding of a walk of error paths
	exitUsage = 2 // the arguments and the files alone prove it wrong
	exitNone  = 3 // no verdict in some run, or every run skipped
)

// Main runs the command and returns its exit status.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	// SIGHUP as well: a closed terminal must not leave a QEMU behind.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	return exitStatus(err, stderr)
}

// exitStatus maps how a command ended, and prints its error where the report
// has not already told it.
func exitStatus(err error, stderr io.Writer) int {
	var verdict verdictError
	var usage harness.UsageError
	switch {
	case err == nil:
		return exitClean
	case errors.As(err, &verdict):
		return verdict.exitStatus()
	case errors.As(err, &usage):
		fmt.Fprintln(stderr, "kmemgate:", err)
		return exitUsage
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(stderr, "kmemgate: interrupted: no verdict")
		return exitNone
	}
	fmt.Fprintln(stderr, "kmemgate:", err)
	return exitNone
}

// verdictError carries a report's verdict from a command to the exit status.
type verdictError struct{ verdict reports.Verdict }

func (e verdictError) Error() string { return "verdict: " + string(e.verdict) }

func (e verdictError) exitStatus() int {
	switch e.verdict {
	case reports.Clean:
		return exitClean
	case reports.Leaks:
		return exitLeaks
	}
	return exitNone
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "kmemgate",
		Short: "Tell whether a Linux kernel module leaks memory",
		Long: `kmemgate builds a kernel with kmemleak, boots it in QEMU, loads the modules
under test, works them, unloads them, forces scans, and fails if there is an
orphan that was not known before.

Exit status: 0 nothing new, 1 new leaks, 2 wrong usage, 3 no verdict.`,
		Example: `  kmemgate run                              # the driver in this directory
  kmemgate run --kernel 6.1 --kernel 6.12 --arch arm64 drivers/foo
  kmemgate run --error-paths                # fail each of its allocations once
  kmemgate parse < /sys/kernel/debug/kmemleak`,
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(newRun(), newKernel(), newReport(), newParse(), newDoctor(), newCache(), newMatrix(), newHistory(), newBisect(), newShell(), newSweep(), newMan())
	root.SetVersionTemplate("kmemgate {{.Version}}\n")
	strict(root)
	completeCells(root)
	return root
}
