package cli

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/kmemgate/kmemgate/kernels"
)

func newCache() *cobra.Command {
	c := &cobra.Command{
		Use:   "cache",
		Short: "List and prune what runs keep for the next: sources, kernels, modules, templates",
	}
	c.AddCommand(newCacheList(), newCachePrune())
	return c
}

func newCacheList() *cobra.Command {
	return &cobra.Command{
		Use:     "ls",
		Short:   "List the cache's entries with size and last use",
		Example: "  kmemgate cache ls",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			entries, err := new(kernels.Cache).List()
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 8, 2, ' ', 0)
			for _, e := range entries {
				fmt.Fprintf(w, "%s/%s\t%.1f MB\t%s\n", e.Kind, e.Key, float64(e.Bytes)/1e6, e.Used.Format(time.DateTime))
			}
			return w.Flush()
		},
	}
}

func newCachePrune() *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:   "prune",
		Short: "Remove the least recently used entries until the cache is under its limit",
		Example: `  kmemgate cache prune
  kmemgate cache prune --all     # everything that no run is using`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var cache kernels.Cache
			limit := int64(kernels.DefaultLimit)
			if all {
				limit = 0
			}
			removed, err := cache.Prune(limit)
			for _, e := range removed {
				fmt.Fprintf(c.OutOrStdout(), "removed %s/%s, %.1f MB\n", e.Kind, e.Key, float64(e.Bytes)/1e6)
			}
			return err
		},
	}
	c.Flags().BoolVar(&all, "all", false, "remove every entry that is not in use")
	return c
}
