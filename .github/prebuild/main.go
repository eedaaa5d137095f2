// Command prebuild compiles the guest's programs, for both architectures, into
// the folder that a release embeds (initramfs/prebuilt.go).
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/kmemgate/kmemgate/initramfs"
	"github.com/kmemgate/kmemgate/kernels"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: prebuild DIR")
		os.Exit(2)
	}
	if err := prebuild(context.Background(), os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "prebuild:", err)
		os.Exit(1)
	}
}

func prebuild(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	b := &initramfs.Builder{Cache: new(kernels.Cache).Entry, Log: os.Stderr}
	for _, arch := range []string{"x86_64", "arm64"} {
		for _, program := range []func(context.Context, string) (string, func(), error){b.Agent, b.Userland} {
			if err := keep(ctx, dir, arch, program); err != nil {
				return err
			}
		}
	}
	return nil
}

// keep copies one program out of the cache, under the name that it has there.
func keep(ctx context.Context, dir, arch string, program func(context.Context, string) (string, func(), error)) error {
	path, release, err := program(ctx, arch)
	if err != nil {
		return err
	}
	defer release()
	archive, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, filepath.Base(path)), archive, 0o644)
}
