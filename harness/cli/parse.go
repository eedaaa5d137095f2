package cli

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/kmemgate/kmemgate/harness"
	"github.com/kmemgate/kmemgate/reports"
	"github.com/kmemgate/kmemgate/reports/render"
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
		return printJSON(w, records)
	}
	for _, r := range records {
		// A task names itself: what it says must not steer the terminal.
		if _, err := io.WriteString(w, render.Printable(r.String())); err != nil {
			return fmt.Errorf("print records: %w", err)
		}
	}
	return nil
}

// printJSON prints an array, one record after the other: the encoder would first
// lay the whole text out in memory, which is twice what was read.
func printJSON(w io.Writer, records []reports.Record) error {
	out := bufio.NewWriter(w)
	before := "[\n  "
	for i := range records {
		text, err := json.MarshalIndent(asRecordJSON(&records[i]), "  ", "  ")
		if err != nil {
			return fmt.Errorf("print records: %w", err)
		}
		_, _ = out.WriteString(before)
		_, _ = out.Write(text) // an error stays, and Flush returns it
		before = ",\n  "
	}
	end := "\n]\n"
	if len(records) == 0 {
		end = "[]\n"
	}
	_, _ = out.WriteString(end)
	if err := out.Flush(); err != nil {
		return fmt.Errorf("print records: %w", err)
	}
	return nil
}

// recordJSON is a record for a machine to read. Addresses are text: they have more
// bits than a JSON number keeps in most programs.
type recordJSON struct {
	Line    int         `json:"line"` // of the header, in what was read
	Kind    string      `json:"kind"` // "object", "percpu" or "phys"
	Address string      `json:"address"`
	Size    int64       `json:"size"`
	Comm    string      `json:"comm"`
	PID     int         `json:"pid"`
	Jiffies uint64      `json:"jiffies"`
	Age     *float64    `json:"age,omitempty"` // seconds; kernels up to about 6.7
	Dump    string      `json:"dump,omitempty"`
	CRC     string      `json:"crc,omitempty"`
	Frames  []frameJSON `json:"frames"`
	More    int         `json:"more,omitempty"` // objects with the same backtrace
}

// frameJSON is a frame: a symbol, or an address where the kernel knew none.
type frameJSON struct {
	Symbol  string `json:"symbol,omitempty"`
	Offset  uint64 `json:"offset"`
	Module  string `json:"module,omitempty"`
	Address string `json:"address,omitempty"`
}

func asRecordJSON(r *reports.Record) recordJSON {
	out := recordJSON{
		Line: r.Line, Kind: r.Kind, Address: fmt.Sprintf("0x%x", r.Address), Size: r.Size, Comm: r.Comm, PID: r.PID,
		Jiffies: r.Jiffies, Dump: hex.EncodeToString(r.Dump), Frames: []frameJSON{}, More: r.More,
	}
	if r.Age >= 0 {
		age := r.Age.Seconds()
		out.Age = &age
	}
	if r.HasCRC {
		out.CRC = fmt.Sprintf("%x", r.CRC)
	}
	for _, f := range r.Frames {
		frame := frameJSON{Symbol: f.Symbol, Offset: f.Offset, Module: f.Module}
		if f.Addr != 0 {
			frame.Address = fmt.Sprintf("0x%x", f.Addr)
		}
		out.Frames = append(out.Frames, frame)
	}
	return out
}
