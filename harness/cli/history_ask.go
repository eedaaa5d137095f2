package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kmemgate/kmemgate/harness"
	"github.com/kmemgate/kmemgate/reports"
	"github.com/kmemgate/kmemgate/reports/history"
)

func newHistoryNew(f *historyFlags) *cobra.Command {
	var since, sinceKernel string
	var exitCode bool
	c := &cobra.Command{
		Use:   "new",
		Short: "What was first seen since last night, another night, or a kernel",
		Example: `  kmemgate history new
  kmemgate history new --since 2026-11-15
  kmemgate history new --since-kernel 6.12.110 --format json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if since != "" && sinceKernel != "" {
				return harness.Usagef("--since and --since-kernel: give one of them")
			}
			return f.ask(c, func(h *history.History) error {
				var leaks []history.Leak
				var err error
				if sinceKernel != "" {
					leaks, err = h.NewSinceKernel(c.Context(), sinceKernel, f.query)
				} else {
					leaks, err = h.New(c.Context(), since, f.query)
				}
				if err != nil {
					return err
				}
				return f.answer(c, leaks, exitCode, "nothing new")
			})
		},
	}
	c.Flags().StringVar(&since, "since", "", "a night's label (default: the last but one)")
	c.Flags().StringVar(&sinceKernel, "since-kernel", "", "a release: what no kernel up to it has shown")
	exitCodeFlag(c, &exitCode)
	return c
}

func newHistoryLeaks(f *historyFlags) *cobra.Command {
	c := &cobra.Command{
		Use:   "leaks",
		Short: "Every leak of the last nights, with first seen, last seen and its state",
		Example: `  kmemgate history leaks
  kmemgate history leaks --line 6.12 --scenario dummy
  kmemgate history leaks --signature SIGNATURE --nights 1000`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return f.states(c, false, "no leak was seen")
		},
	}
	c.Flags().StringVar(&f.query.Signature, "signature", "", "this one only")
	return c
}

func newHistoryRegressions(f *historyFlags) *cobra.Command {
	var exitCode bool
	c := &cobra.Command{
		Use:     "regressions",
		Short:   "What leaks now, is new for its scenario on its kernel line, and is confirmed by a second run",
		Example: "  kmemgate history regressions --exit-code",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return f.states(c, exitCode, "no regression", history.Regression)
		},
	}
	exitCodeFlag(c, &exitCode)
	return c
}

func newHistoryFlaky(f *historyFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "flaky",
		Short:   "What comes and goes on the same build",
		Example: "  kmemgate history flaky --nights 90",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return f.states(c, false, "nothing is flaky", history.Flaky)
		},
	}
}

func newHistoryFixed(f *historyFlags) *cobra.Command {
	return &cobra.Command{
		Use:     "fixed",
		Short:   "What leaked in the last nights, and no more",
		Example: "  kmemgate history fixed --nights 7",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return f.states(c, false, "nothing was fixed", history.Fixed)
		},
	}
}

func newHistorySlower(f *historyFlags) *cobra.Command {
	var night string
	c := &cobra.Command{
		Use:   "slower",
		Short: "What took longer in a night than its own noise explains",
		Long: `Slower compares the night with the nights before it, at least five, by their
median b and their noise s (1.4826 · median absolute deviation). What exceeds
b + max(4·s, 10 % of b, 0.5 s) is slower.`,
		Example: `  kmemgate history slower
  kmemgate history slower --night 2026-11-22`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return f.ask(c, func(h *history.History) error {
				slower, err := h.Slower(c.Context(), night, f.query)
				if err != nil {
					return err
				}
				return f.print(c, slower, func() error {
					if len(slower) == 0 {
						fmt.Fprintln(c.ErrOrStderr(), "nothing became slower")
					}
					return history.WriteSlower(c.OutOrStdout(), slower)
				})
			})
		},
	}
	c.Flags().StringVar(&night, "night", "", "the night to judge (default: the last)")
	return c
}

func exitCodeFlag(c *cobra.Command, flag *bool) {
	c.Flags().BoolVar(flag, "exit-code", false, "exit 1 if a confirmed regression is among them")
}

// states answers with the leaks of these states; none named: all.
func (f *historyFlags) states(c *cobra.Command, exitCode bool, none string, states ...history.State) error {
	return f.ask(c, func(h *history.History) error {
		var leaks []history.Leak
		var err error
		if len(states) == 0 {
			leaks, err = h.Leaks(c.Context(), f.query)
		} else {
			leaks, err = h.InState(c.Context(), f.query, states...)
		}
		if err != nil {
			return err
		}
		return f.answer(c, leaks, exitCode, none)
	})
}

// answer prints leaks; none is said on stderr, so that stdout is for what was
// found.
func (f *historyFlags) answer(c *cobra.Command, leaks []history.Leak, exitCode bool, none string) error {
	err := f.print(c, leaks, func() error {
		if len(leaks) == 0 {
			fmt.Fprintln(c.ErrOrStderr(), none)
		}
		return history.WriteLeaks(c.OutOrStdout(), leaks)
	})
	if err != nil || !exitCode {
		return err
	}
	for _, l := range leaks {
		if l.State == history.Regression {
			return verdictError{reports.Leaks}
		}
	}
	return nil
}
