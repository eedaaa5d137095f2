package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/kmemgate/kmemgate/harness"
	"github.com/kmemgate/kmemgate/reports"
)

func newParse() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "parse [FILE]",
		Short: "Read kmemleak text, or a kernel log that holds it, and print its records",
		Long: `Parse reads the text of /sys/kernel/debug/kmemleak, or a kernel log with
kmemleak's reports in it, of any kernel version, and prints the records.
Without FILE, or with "-", it reads stdin.

Exit status: 0 parsed, 2 a line that is no kmemleak text (file:line: text).`,
		Example: `  kmemgate parse /sys/kernel/debug/kmemleak
  dmesg | kmemgate parse --json | jq '.[].size'`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			in, name := c.InOrStdin(), "stdin"
			if len(args) == 1 && args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return harness.Usagef("parse: %w", err)
				}
				defer f.Close()
				in, name = f, args[0]
			}
			records, err := reports.ParseKmemleak(in, name)
			if err != nil {
				return harness.Usagef("%w", err)
			}
			return printRecords(c.OutOrStdout(), records, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func printRecords(w io.Writer, records []reports.Record, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(records)
	}
	for _, r := range records {
		if _, err := io.WriteString(w, r.String()); err != nil {
			return fmt.Errorf("print records: %w", err)
		}
	}
	return nil
}
