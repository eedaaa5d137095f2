package cli

import (
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/kmemgate/kmemgate/kernels"
	"github.com/kmemgate/kmemgate/scenarios"
)

// completeCells adds what --kernel and --arch complete to, to every command that
// has them.
func completeCells(c *cobra.Command) {
	if c.Flags().Lookup("arch") != nil {
		completeWords(c, "arch", "x86_64", "arm64")
	}
	if c.Flags().Lookup("kernel") != nil {
		_ = c.RegisterFlagCompletionFunc("kernel", completeKernels)
	}
	for _, sub := range c.Commands() {
		completeCells(sub)
	}
}

// completeKernels offers the default's series and what is built, which costs
// nothing. What else --kernel takes is a directory, and completes as one.
func completeKernels(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	list, err := new(kernels.Builder).List()
	if err != nil { // completion has nowhere to say so; the run itself will
		list = nil
	}
	return kernelWords(list), cobra.ShellCompDirectiveDefault
}

// kernelWords names each release once. One that was built of a directory is
// named by it.
func kernelWords(list []kernels.Listed) []string {
	words := []string{scenarios.DefaultKernel}
	for _, k := range list {
		name := k.Release
		if filepath.IsAbs(k.Origin) {
			name = k.Origin
		}
		if !slices.Contains(words, name) {
			words = append(words, name)
		}
	}
	return words
}
