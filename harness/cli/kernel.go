package cli

import (
	"fmt"
	"runtime"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/kmemgate/kmemgate/harness"
	"github.com/kmemgate/kmemgate/kconfig"
	"github.com/kmemgate/kmemgate/kernels"
)

func newKernel() *cobra.Command {
	c := &cobra.Command{
		Use:   "kernel",
		Short: "List, build, find, push and pull the kernels that runs use",
	}
	c.AddCommand(newKernelList(), newKernelBuild(), newKernelPath(), newKernelPush(), newKernelPull())
	return c
}

func newKernelList() *cobra.Command {
	return &cobra.Command{
		Use:     "ls",
		Short:   "List the kernels in the cache",
		Example: "  kmemgate kernel ls",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			list, err := new(kernels.Builder).List()
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 8, 2, ' ', 0)
			for _, k := range list {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", k.Release, k.Arch, k.Origin, k.Dir)
			}
			return w.Flush()
		},
	}
}

func newKernelBuild() *cobra.Command {
	var arches []string
	var config string
	c := &cobra.Command{
		Use:   "build KERNEL[/ARCH]...",
		Short: "Fetch and build kernels, or find them in the cache",
		Example: `  kmemgate kernel build 6.12
  kmemgate kernel build 6.12/x86_64 6.1/arm64
  kmemgate kernel build --arch x86_64 --arch arm64 6.12 6.1
  kmemgate kernel build --config sweep 6.12`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			specs, err := kernelSpecs(args, arches, config)
			if err != nil {
				return err
			}
			builder := &kernels.Builder{Log: c.ErrOrStderr()}
			defer builder.Close()
			for _, spec := range specs {
				k, err := builder.Kernel(c.Context(), spec)
				if err != nil {
					return asUsage(err)
				}
				fmt.Fprintf(c.OutOrStdout(), "%s %s %s\n", k.Release, k.Arch, k.Image)
			}
			return nil
		},
	}
	c.Flags().StringArrayVar(&arches, "arch", nil, "architecture (repeats; default the host's)")
	configFlag(c, &config)
	return c
}

func configFlag(c *cobra.Command, config *string) {
	c.Flags().StringVar(config, "config", "", `fragment of kernel options on top of the base; "sweep": that of kmemgate sweep`)
}

// kernelParts are what `kernel path --what` names.
var kernelParts = map[string]func(*kernels.Kernel) string{
	"image":  func(k *kernels.Kernel) string { return k.Image },
	"build":  func(k *kernels.Kernel) string { return k.Build },
	"config": func(k *kernels.Kernel) string { return k.Config },
	"source": func(k *kernels.Kernel) string { return k.Source },
}

func newKernelPath() *cobra.Command {
	var what, config string
	c := &cobra.Command{
		Use:     "path KERNEL[/ARCH]",
		Short:   "Print where a built kernel lies",
		Example: "  kmemgate kernel path 6.12/arm64\n  make -C $(kmemgate kernel path --what build 6.12) M=$PWD",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			part, known := kernelParts[what]
			if !known {
				return harness.Usagef("--what %s: want image, build, config or source", what)
			}
			specs, err := kernelSpecs(args, nil, config)
			if err != nil {
				return err
			}
			builder := &kernels.Builder{Log: c.ErrOrStderr()}
			defer builder.Close()
			k, err := builder.Path(c.Context(), specs[0])
			if err != nil {
				return asUsage(err)
			}
			fmt.Fprintln(c.OutOrStdout(), part(k))
			return nil
		},
	}
	c.Flags().StringVar(&what, "what", "image", "image, build, config or source")
	completeWords(c, "what", "image", "build", "config", "source")
	configFlag(c, &config)
	return c
}

// kernelSpecs reads KERNEL[/ARCH] arguments. A directory may hold slashes, so
// only a last part that is an architecture counts as one.
func kernelSpecs(args, arches []string, config string) ([]kernels.Spec, error) {
	var fragments []kconfig.Fragment
	if config != "" {
		fragment, err := readFragment(config)
		if err != nil {
			return nil, err
		}
		fragments = append(fragments, *fragment)
	}
	if len(arches) == 0 {
		arches = []string{hostArch()}
	}
	var specs []kernels.Spec
	for _, arg := range args {
		if i := strings.LastIndexByte(arg, '/'); i > 0 && knownArch(arg[i+1:]) {
			specs = append(specs, kernels.Spec{Source: arg[:i], Arch: arg[i+1:], Config: fragments})
			continue
		}
		for _, arch := range arches {
			if !knownArch(arch) {
				return nil, harness.Usagef("--arch %s: want x86_64 or arm64", arch)
			}
			specs = append(specs, kernels.Spec{Source: arg, Arch: arch, Config: fragments})
		}
	}
	return specs, nil
}

func knownArch(arch string) bool { return arch == "x86_64" || arch == "arm64" }

func hostArch() string {
	if runtime.GOARCH == "arm64" {
		return "arm64"
	}
	return "x86_64"
}

// asUsage marks errors of package kernels that the arguments alone prove.
func asUsage(err error) error {
	if kernels.IsUsage(err) {
		return harness.Usagef("%w", err)
	}
	return err
}
