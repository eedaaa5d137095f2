package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/kmemgate/kmemgate/harness"
	"github.com/kmemgate/kmemgate/reports"
	"github.com/kmemgate/kmemgate/reports/render"
)

func newReport() *cobra.Command {
	var opt render.Options
	var out string
	c := &cobra.Command{
		Use:   "report DIR...",
		Short: "Render again, or merge, what runs left behind; no VM",
		Example: `  kmemgate report kmemgate-out
  kmemgate report --format html -o report.html cell-*/
  kmemgate report --format sarif --source drivers/foo -o leaks.sarif out`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := knownFormat(opt.Format); err != nil {
				return err
			}
			report, err := mergeReports(args)
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
	completeWords(c, "format", render.Formats()...)
	return c
}

// mergeReports reads report.json of every folder; a folder without one is a
// run that gave no verdict, not one to leave out.
func mergeReports(dirs []string) (*reports.Report, error) {
	var runs []reports.Run
	for _, dir := range dirs {
		path := filepath.Join(dir, "report.json")
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, harness.Usagef("%s: no report.json: is this the --out of a run?", dir)
		}
		if err != nil {
			return nil, harness.Usagef("report: %w", err)
		}
		r, err := reports.ReadJSON(f)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		for _, run := range r.Runs {
			run.Dir = filepath.Join(dir, run.Dir)
			runs = append(runs, run)
		}
	}
	merged := reports.NewReport(runs)
	return &merged, nil
}

func renderTo(c *cobra.Command, r reports.Report, opt render.Options, path string) error {
	if path == "" {
		shown := renderOptions(c.OutOrStdout(), opt.Format)
		opt.Color, opt.Width = shown.Color, shown.Width
		return render.Write(c.OutOrStdout(), r, opt)
	}
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return errors.Join(render.Write(f, r, opt), f.Close())
}

// renderOptions colors text for a terminal. NO_COLOR and FORCE_COLOR are read
// here and nowhere deeper (no-color.org, force-color.org).
func renderOptions(w io.Writer, format string) render.Options {
	opt := render.Options{Format: format}
	f, isFile := w.(*os.File)
	opt.Color = isFile && term.IsTerminal(int(f.Fd()))
	if os.Getenv("FORCE_COLOR") != "" {
		opt.Color = true
	}
	if os.Getenv("NO_COLOR") != "" {
		opt.Color = false
	}
	if opt.Color && isFile {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil {
			opt.Width = width
		}
	}
	return opt
}
