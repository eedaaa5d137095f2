package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/kmemgate/kmemgate/kernels"
)

// registryFlags are what push and pull share.
type registryFlags struct {
	arches    []string
	config    string
	plainHTTP bool
}

func (f *registryFlags) add(c *cobra.Command) {
	c.Flags().StringArrayVar(&f.arches, "arch", nil, "architecture (repeats; default the host's)")
	configFlag(c, &f.config)
	c.Flags().BoolVar(&f.plainHTTP, "plain-http", false, "no TLS; never needed for a registry on this machine")
}

// read takes the arguments REGISTRY/REPO KERNEL[/ARCH]... apart.
func (f *registryFlags) read(args []string) (r kernels.Registry, specs []kernels.Spec, err error) {
	if err := kernels.CheckReference(args[0]); err != nil {
		return r, nil, asUsage(err)
	}
	specs, err = kernelSpecs(args[1:], f.arches, f.config)
	for _, spec := range specs {
		if err == nil {
			err = asUsage(kernels.CheckName(spec.Source))
		}
	}
	return kernels.Registry{Reference: args[0], PlainHTTP: f.plainHTTP}, specs, err
}

func newKernelPush() *cobra.Command {
	var f registryFlags
	c := &cobra.Command{
		Use:   "push REGISTRY/REPO[:TAG] KERNEL[/ARCH]...",
		Short: "Bring built kernels into an OCI registry",
		Long: `Push packs kernels that are built (image, modules, build tree, configuration,
provenance, and once for all of them the source) as OCI artifacts. The tag is
set last: a push that was cut short changes nothing. What the tag had stays.

It prints REGISTRY/REPO@sha256:…, which names what was pushed for good.
Credentials are those of docker login.`,
		Example: `  kmemgate kernel push ghcr.io/me/kernels 6.12/x86_64 6.12/arm64
  kmemgate kernel push --config sweep localhost:5000/kernels:nightly 6.12`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			r, specs, err := f.read(args)
			if err != nil {
				return err
			}
			builder := &kernels.Builder{Log: c.ErrOrStderr()}
			defer builder.Close()
			pushed, err := builder.Push(c.Context(), r, specs)
			if err != nil {
				return asUsage(err)
			}
			fmt.Fprintln(c.OutOrStdout(), pushed)
			return nil
		},
	}
	f.add(c)
	return c
}

func newKernelPull() *cobra.Command {
	var f registryFlags
	c := &cobra.Command{
		Use:   "pull REGISTRY/REPO[:TAG|@DIGEST] [KERNEL[/ARCH]...]",
		Short: "Take kernels from an OCI registry into the cache",
		Long: `Pull brings kernels that another machine pushed into the cache, so that runs
build none: those named, as --kernel and --config name them for a build, or all
that the tag has. Every byte is compared with its digest, and a kernel is in
the cache as a whole or not at all.

Drivers are built against its build tree, with that tree's programs: pull from
a repository whose writers you trust, or by the digest that push printed.`,
		Example: `  kmemgate kernel pull ghcr.io/me/kernels 6.12/x86_64
  kmemgate kernel pull --config sweep ghcr.io/me/kernels:nightly 6.12/arm64
  kmemgate kernel pull localhost:5000/kernels`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			r, specs, err := f.read(args)
			if err != nil {
				return err
			}
			builder := &kernels.Builder{Log: c.ErrOrStderr()}
			defer builder.Close()
			pulled, err := builder.Pull(c.Context(), r, specs)
			if err != nil {
				return asUsage(err)
			}
			for _, k := range pulled {
				fmt.Fprintf(c.OutOrStdout(), "%s %s %s\n", k.Release, k.Arch, k.Image)
			}
			return nil
		},
	}
	f.add(c)
	return c
}
