package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/kmemgate/kmemgate/harness"
	"github.com/kmemgate/kmemgate/reports"
	"github.com/kmemgate/kmemgate/reports/history"
)

// historyFlags are the flags that all of history's commands share.
type historyFlags struct {
	db     string
	format string
	query  history.Query
}

func newHistory() *cobra.Command {
	var f historyFlags
	c := &cobra.Command{
		Use:   "history",
		Short: "Remember the reports of many nights, and tell what is new, fixed, flaky or slower",
		Long: `History keeps the reports of many nights in one SQLite file and answers what a
night brought. Several processes may use the file at once.

A regression is a leak that is new for its scenario on its kernel line (6.12)
and that a second run confirmed. One that comes and goes on the same build is
flaky. docs/nightly.md tells the rules.`,
		Example: `  kmemgate history add out/report.json
  kmemgate history new
  kmemgate history regressions --exit-code
  kmemgate history html -o history.html`,
	}
	p := c.PersistentFlags()
	p.StringVar(&f.db, "db", "kmemgate-history.sqlite", "the history's file")
	p.StringVar(&f.format, "format", "text", "text or json")
	p.IntVar(&f.query.Nights, "nights", history.DefaultNights, "how many nights to look back")
	p.StringVar(&f.query.Scenario, "scenario", "", "this scenario only")
	p.StringVar(&f.query.Line, "line", "", "this kernel line only, e.g. 6.12")
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	c.AddCommand(newHistoryAdd(&f), newHistoryNew(&f), newHistoryLeaks(&f), newHistoryRegressions(&f), newHistoryFlaky(&f),
		newHistoryFixed(&f), newHistorySlower(&f), newHistoryHTML(&f), newHistoryKCIDB(&f), newHistoryIssues(&f))
	return c
}

func newHistoryAdd(f *historyFlags) *cobra.Command {
	var night, cellsFile string
	c := &cobra.Command{
		Use:   "add FILE|DIR...",
		Short: "Take in reports (report.json, or a run's --out)",
		Long: `Add takes in reports, each as a whole or not at all. A run that is there already
counts once. Without --night, a run belongs to the night of its intake; nights
last from noon to noon UTC and bear the date of their evening. --cells names the
cells that are expected, as kmemgate matrix printed them: one without a report
is a run without a verdict (cell-missing).`,
		Example: `  kmemgate history add out/report.json
  kmemgate history add --night 2026-11-22 --cells cells.json cells/*/`,
		Args: func(c *cobra.Command, args []string) error {
			if cellsFile != "" { // perhaps none has come
				return nil
			}
			return cobra.MinimumNArgs(1)(c, args)
		},
		RunE: func(c *cobra.Command, args []string) error {
			cells, err := readCells(cellsFile)
			if err != nil {
				return err
			}
			list, names, err := nightsReports(args, cells, cmp.Or(night, history.NightOf(time.Now())))
			if err != nil {
				return err
			}
			return f.with(c, history.Open, func(h *history.History) error {
				var sum history.Added
				for i, r := range list {
					added, err := h.Add(c.Context(), r, history.Intake{Night: night})
					if err != nil {
						return fmt.Errorf("%s: %w", names[i], err)
					}
					sum = history.Added{Night: added.Night, Runs: sum.Runs + added.Runs, Duplicates: sum.Duplicates + added.Duplicates}
				}
				return f.print(c, sum, func() error {
					_, err := fmt.Fprintf(c.OutOrStdout(), "night %s: %d runs added, %d were there\n", sum.Night, sum.Runs, sum.Duplicates)
					return err
				})
			})
		},
	}
	c.Flags().StringVar(&cellsFile, "cells", "", "file of the cells that are expected, what kmemgate matrix prints")
	c.Flags().StringVar(&night, "night", "", "label of the night, e.g. its date (default: by the time of intake)")
	return c
}

// nightsReports are the reports of a night and, last, one for the expected cells
// that are not among them, each with the name it goes by. The last one tells its
// night: in two nights it is two, taken in twice it is one. All are read before
// anything is taken in: where one is broken, nothing was added.
func nightsReports(paths []string, cells []matrixCell, night string) (list []reports.Report, names []string, err error) {
	for _, path := range paths {
		r, err := reportAt(path)
		if _, lack := os.Stat(path); err != nil && lack == nil && len(cells) > 0 {
			continue // a cell that is lost must not cost the night the others
		}
		if err != nil {
			return nil, nil, err
		}
		list, names = append(list, r), append(names, path)
	}
	if missing := missingCells(cells, names); len(missing) > 0 {
		for i := range missing {
			missing[i].Detail += " in the night " + night
		}
		list = append(list, reports.NewReport(missing))
	}
	return list, append(names, "--cells"), nil
}

// reportAt reads a report, or that of a folder. A broken file is wrong usage.
func reportAt(path string) (r reports.Report, err error) {
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		path = filepath.Join(path, "report.json")
	}
	file, err := os.Open(path)
	if err != nil {
		return r, harness.Usagef("history add: %w", err)
	}
	defer file.Close()
	if r, err = reports.ReadJSON(file); err != nil {
		return r, harness.Usagef("%s: %w", path, err)
	}
	return r, nil
}

// with opens the history, hands it to do and closes it. What only the
// arguments can have caused is wrong usage.
func (f *historyFlags) with(c *cobra.Command, open func(context.Context, string) (*history.History, error), do func(*history.History) error) error {
	if !slices.Contains([]string{"text", "json"}, f.format) {
		return harness.Usagef("--format %s: want text or json", f.format)
	}
	if f.query.Nights < 1 || f.query.Nights > 10000 {
		return harness.Usagef("--nights %d: want 1 to 10000", f.query.Nights)
	}
	h, err := open(c.Context(), f.db)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) || errors.Is(err, history.ErrForeign) {
		return harness.Usagef("%w (--db names the file; history add makes one)", err)
	}
	if err != nil {
		return err
	}
	err = errors.Join(do(h), h.Close())
	for _, wrong := range []error{history.ErrNoNight, history.ErrKernel, history.ErrOrigin, history.ErrReport} {
		if errors.Is(err, wrong) {
			return harness.Usagef("%w", err)
		}
	}
	return err
}

// ask is with, for a question: the file must be there.
func (f *historyFlags) ask(c *cobra.Command, do func(*history.History) error) error {
	return f.with(c, history.OpenExisting, do)
}

// print writes v as JSON, or lets text write it.
func (f *historyFlags) print(c *cobra.Command, v any, text func() error) error {
	if f.format != "json" {
		return text()
	}
	e := json.NewEncoder(c.OutOrStdout())
	e.SetIndent("", "  ")
	return e.Encode(v)
}
