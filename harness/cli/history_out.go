package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"github.com/kmemgate/kmemgate/reports/history"
)

func newHistoryHTML(f *historyFlags) *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:   "html",
		Short: "One self-contained page: nights × scenarios, leaks, trends",
		Example: `  kmemgate history html -o history.html
  kmemgate history html --nights 90 --line 6.12 > history.html`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return f.ask(c, func(h *history.History) error {
				page, err := h.Page(c.Context(), f.query, time.Now())
				if err != nil {
					return err
				}
				return writeTo(c, out, func(w io.Writer) error {
					if f.format == "json" {
						return json.NewEncoder(w).Encode(page)
					}
					return page.WriteHTML(w)
				})
			})
		},
	}
	c.Flags().StringVarP(&out, "output", "o", "", "write to this file in place of stdout")
	return c
}

func newHistoryKCIDB(f *historyFlags) *cobra.Command {
	var out, night, origin string
	c := &cobra.Command{
		Use:   "kcidb",
		Short: "A night in KernelCI's format (KCIDB v5.3 JSON)",
		Example: `  kmemgate history kcidb --origin mylab
  kmemgate history kcidb --origin mylab --night 2026-11-22 -o night.json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return f.ask(c, func(h *history.History) error {
				k, err := h.KCIDB(c.Context(), night, origin)
				if err != nil {
					return err
				}
				return writeTo(c, out, func(w io.Writer) error {
					e := json.NewEncoder(w)
					e.SetIndent("", "  ")
					return e.Encode(k)
				})
			})
		},
	}
	c.Flags().StringVarP(&out, "output", "o", "", "write to this file in place of stdout")
	c.Flags().StringVar(&night, "night", "", "the night to give (default: the last)")
	c.Flags().StringVar(&origin, "origin", "kmemgate", "the submitter's name at KernelCI")
	return c
}

// writeTo writes to stdout, or to a file that is there whole or not at all.
func writeTo(c *cobra.Command, path string, write func(io.Writer) error) error {
	if path == "" {
		return write(c.OutOrStdout())
	}
	file, err := renameio.NewPendingFile(path, renameio.WithPermissions(0o644))
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer file.Cleanup()
	if err := write(file); err != nil {
		return err
	}
	return file.CloseAtomicallyReplace()
}
