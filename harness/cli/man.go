package cli

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// newMan writes the manual, a page a command.
func newMan() *cobra.Command {
	return &cobra.Command{
		Use:     "man DIR",
		Short:   "Write man pages into DIR",
		Example: "  kmemgate man /usr/local/share/man/man1",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return fmt.Errorf("man pages: %w", err)
			}
			root := c.Root()
			root.DisableAutoGenTag = true
			// No date, so that the same sources give the same pages.
			return doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "kmemgate", Manual: "kmemgate", Date: &time.Time{}}, args[0])
		},
	}
}
