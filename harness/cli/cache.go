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
	var unused time.Duration
	c := &cobra.Command{
		Use:   "prune",
		Short: "Remove the least recently used entries until the cache is under its limit",
		Example: `  kmemgate cache prune
  kmemgate cache prune --unused 720h   # what no run took for a month
  kmemgate cache prune --all           # everything that no run is using`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			var cache kernels.Cache
			var removed []kernels.CacheEntry
			var err error
			switch {
			case all:
				removed, err = cache.Prune(0)
			case unused > 0:
				removed, err = cache.PruneUnused(time.Now().Add(-unused))
			default:
				removed, err = cache.Prune(kernels.DefaultLimit)
			}
			for _, e := range removed {
				fmt.Fprintf(c.OutOrStdout(), "removed %s/%s, %.1f MB\n", e.Kind, e.Key, float64(e.Bytes)/1e6)
			}
			return err
		},
	}
	c.Flags().DurationVar(&unused, "unused", 0, "remove every entry that no run took into use for so long, e.g. 720h")
	c.Flags().BoolVar(&all, "all", false, "remove every entry that is not in use")
	c.MarkFlagsMutuallyExclusive("all", "unused")
	return c
}
