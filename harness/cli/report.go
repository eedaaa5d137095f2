package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/kmemgate/kmemgate/harness"
	"github.com/kmemgate/kmemgate/reports"
	"github.com/kmemgate/kmemgate/reports/render"
)

func newReport() *cobra.Command {
	var opt render.Options
	var out, cellsFile string
	c := &cobra.Command{
		Use:   "report DIR...",
		Short: "Render again, or merge, what runs left behind; no VM",
		Example: `  kmemgate report kmemgate-out
  kmemgate report --format html -o report.html cell-*/
  kmemgate matrix --shards 4 > cells.json; kmemgate report --cells cells.json cells/*/
  kmemgate report --format sarif --source drivers/foo -o leaks.sarif out`,
		Long: `Report renders the report.json of a run again, or of many as one. Of several
folders, one without a readable report is a run without a verdict. --cells names
the cells that are expected, as kmemgate matrix printed them: one whose folder is
not among the arguments is a run without a verdict too (cell-missing).`,
		Args: func(c *cobra.Command, args []string) error {
			if cellsFile != "" { // perhaps none has come
				return nil
			}
			return cobra.MinimumNArgs(1)(c, args)
		},
		RunE: func(c *cobra.Command, args []string) error {
			if err := knownFormat(opt.Format); err != nil {
				return err
			}
			if out == "" {
				if err := fitsStdout(opt.Format, c.OutOrStdout()); err != nil {
					return err
				}
			}
			cells, err := readCells(cellsFile)
			if err != nil {
				return err
			}
			report, err := mergeReports(args, cells)
			if err != nil {
				return err
			}
			if err := renderTo(c, *report, opt, out); err != nil {
				return err
			}
			return asVerdict(report.Verdict)
		},
	}
	fl := c.Flags()
	fl.StringVar(&opt.Format, "format", "text", "one of "+strings.Join(render.Formats(), ", "))
	fl.StringVarP(&out, "output", "o", "", "write to this file in place of stdout")
	fl.StringVar(&opt.SourceDir, "source", "", "the driver's directory as the reader sees it, e.g. from the repository's root")
	fl.StringVar(&opt.FullReport, "url", "", "where a report that had to be cut can be read whole")
	fl.StringVar(&cellsFile, "cells", "", "file of the cells that are expected, what kmemgate matrix prints")
	completeWords(c, "format", render.Formats()...)
	return c
}

// mergeReports reads report.json of every folder; of several, a folder without
// one is a run that gave no verdict, not one to leave out, and so is an expected
// cell without a folder.
func mergeReports(dirs []string, cells []matrixCell) (*reports.Report, error) {
	var runs []reports.Run
	for _, dir := range dirs {
		r, err := readOneOf(dirs, dir, cells)
		if err != nil {
			return nil, err
		}
		for _, run := range r.Runs {
			run.Dir = evidenceIn(dir, run.Dir)
			runs = append(runs, run)
		}
	}
	merged := reports.NewReport(append(runs, missingCells(cells, dirs)...))
	return &merged, nil
}

// readOneOf reads a folder's report. One alone that has none is a mistake of
// the command line.
func readOneOf(dirs []string, dir string, cells []matrixCell) (reports.Report, error) {
	if len(dirs) == 1 && len(cells) == 0 {
		return readReport(dir)
	}
	return readCell(cells, dir)
}

func readReport(dir string) (reports.Report, error) {
	path := filepath.Join(dir, "report.json")
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return reports.Report{}, harness.Usagef("%s: no report.json: is this the --out of a run?", dir)
	}
	if err != nil {
		return reports.Report{}, harness.Usagef("report: %w", err)
	}
	defer f.Close()
	r, err := reports.ReadJSON(f)
	if err == nil {
		err = r.Check()
	}
	if err != nil {
		return r, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// evidenceIn is a run's folder below the folder of its report; empty where it is
// not there: a report.json may have travelled alone.
func evidenceIn(dir, run string) string {
	if run == "" {
		return ""
	}
	run = filepath.Join(dir, run)
	if st, err := os.Stat(run); err != nil || !st.IsDir() {
		return ""
	}
	return run
}

func renderTo(c *cobra.Command, r reports.Report, opt render.Options, path string) error {
	if path == "" {
		shown := renderOptions(c.OutOrStdout(), opt.Format)
		opt.Color, opt.Width = shown.Color, shown.Width
		return render.Write(c.OutOrStdout(), r, opt)
	}
	var text bytes.Buffer
	if err := render.Write(&text, r, opt); err != nil {
		return err
	}
	if err := writeFile(path, text.Bytes()); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// writeFile replaces a file as a whole, or not at all. What is no file, a pipe
// or /dev/stdout, must stay what it is.
func writeFile(path string, text []byte) error {
	if st, err := os.Lstat(path); err == nil && !st.Mode().IsRegular() {
		return os.WriteFile(path, text, 0o644)
	}
	return renameio.WriteFile(path, text, 0o644)
}

// renderOptions colors text for a terminal. NO_COLOR and FORCE_COLOR are read
// here and nowhere deeper (no-color.org, force-color.org).
func renderOptions(w io.Writer, format string) render.Options {
	opt := render.Options{Format: format}
	opt.Color = isTerminal(w)
	if os.Getenv("FORCE_COLOR") != "" {
		opt.Color = true
	}
	if os.Getenv("NO_COLOR") != "" {
		opt.Color = false
	}
	if f, isFile := w.(*os.File); opt.Color && isFile {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil {
			opt.Width = width
		}
	}
	return opt
}

func isTerminal(w io.Writer) bool {
	f, isFile := w.(*os.File)
	return isFile && term.IsTerminal(int(f.Fd()))
}
