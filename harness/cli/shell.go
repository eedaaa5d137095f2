package cli

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/kmemgate/kmemgate/harness"
)

func newShell() *cobra.Command {
	var f runFlags
	var gdb bool
	c := &cobra.Command{
		Use:   "shell [DIR]",
		Short: "A prompt in the guest in which a driver would run",
		Long: `Shell builds the driver in DIR (default: the current directory) as run does, and
gives you the guest in which it would be judged: u-root's shell, the driver's
modules and files at hand, nothing loaded yet. kmemleak scans when you tell it to.
exit ends the guest.`,
		Example: `  kmemgate shell
  kmemgate shell --kernel 6.1 --arch arm64 scenarios/leak-on-exit
  kmemgate shell --gdb        # the guest waits for a debugger`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			return shell(c, dir, f, gdb)
		},
	}
	fl := c.Flags()
	fl.StringArrayVar(&f.kernels, "kernel", nil, "kernel: series, version, debian:SERIES, URL#sha256=…, directory (default 6.12)")
	fl.StringArrayVar(&f.arches, "arch", nil, "architecture: x86_64 or arm64 (default the host's)")
	fl.StringVar(&f.clock, "clock", "", "warp or real")
	fl.StringVar(&f.memory, "memory", "", "the guest's memory, e.g. 256M")
	fl.StringVar(&f.cmdline, "cmdline", "", "more kernel arguments")
	fl.StringVar(&f.config, "config", "", "fragment of kernel options on top of the base")
	fl.BoolVar(&f.llvm, "llvm", false, "build kernel and modules with clang (LLVM=1)")
	fl.BoolVar(&gdb, "gdb", false, "wait for a debugger, and print the line that attaches one")
	completeWords(c, "clock", "warp", "real")
	return c
}

// shell is the whole of `kmemgate shell`.
func shell(c *cobra.Command, dir string, f runFlags, gdb bool) error {
	f.format = "text"
	s, err := loadScenario(dir)
	if err != nil {
		return err
	}
	if err := f.applyTo(s, c.Flags().Changed); err != nil {
		return err
	}
	gate, err := newGate(c, f, s)
	if err != nil {
		return err
	}
	defer gate.Close()
	opt := harness.ShellOptions{In: c.InOrStdin(), Out: c.OutOrStdout()}
	if gdb {
		opt.Debugger = func(line string) { fmt.Fprintf(c.ErrOrStderr(), "%s\r\n", line) }
	}
	restore, err := rawTerminal(c.InOrStdin())
	if err != nil {
		return err
	}
	defer restore()
	return gate.Shell(c.Context(), s, opt)
}

// rawTerminal hands every key to the guest, Ctrl-C too, where a person sits at
// a terminal.
func rawTerminal(in io.Reader) (restore func(), err error) {
	f, ok := in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return func() {}, nil
	}
	old, err := term.MakeRaw(int(f.Fd()))
	if err != nil {
		return nil, fmt.Errorf("terminal: %w", err)
	}
	return func() { _ = term.Restore(int(f.Fd()), old) }, nil
}
