package kernels

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// Listed is a kernel in the cache.
type Listed struct {
	Kernel
	Compiler string
	Bytes    int64 // disk space, without the source
	Used     time.Time
}

// List returns the kernels that are built, the last used first, for
// `kmemgate kernel ls`.
func (b *Builder) List() ([]Listed, error) {
	entries, err := b.cache().List()
	if err != nil {
		return nil, err
	}
	var all []Listed
	for i := len(entries) - 1; i >= 0; i-- {
		e := entries[i]
		if e.Kind != KindKernels || !e.Complete {
			continue
		}
		info, err := readKernelInfo(e.Path)
		if err != nil {
			return nil, hostErr(err, "kernel %s", e.Key)
		}
		all = append(all, Listed{Kernel: *b.kernelAt(e.Path, info), Compiler: info.Compiler, Bytes: e.Bytes, Used: e.Used})
	}
	return all, nil
}

// kernelAt describes the finished kernel in a cache entry.
func (b *Builder) kernelAt(dir string, info kernelInfo) *Kernel {
	source := info.SourceDir
	if !strings.HasPrefix(info.SourceKey, "dir-") {
		// Not the path at the time of the build: a cache can be moved.
		source = filepath.Join(filepath.Dir(filepath.Dir(dir)), KindSources, info.SourceKey, sourceTree)
	}
	build := filepath.Join(dir, "build")
	return &Kernel{
		Release: info.Release, Arch: info.Arch, Origin: info.Origin, Key: filepath.Base(dir), Dir: dir,
		Image: filepath.Join(build, archs[info.Arch].image), Config: filepath.Join(build, ".config"),
		Build: build, Source: source, LLVM: info.LLVM, Compiler: info.Compiler,
	}
}

// Path returns the kernel that spec asks for if it is built, and an error with
// the command that builds it if not. It fetches and builds nothing.
func (b *Builder) Path(ctx context.Context, spec Spec) (*Kernel, error) {
	kb, err := b.built(ctx, spec)
	if err != nil {
		return nil, err
	}
	return kb.kernel(ctx)
}

// built is the finished build that spec asks for.
func (b *Builder) built(ctx context.Context, spec Spec) (*kernelBuild, error) {
	if err := CheckName(spec.Source); err != nil {
		return nil, err
	}
	chain, err := b.toolchain(ctx, spec.Arch, spec.LLVM)
	if err != nil {
		return nil, err
	}
	src, err := b.resolveCached(ctx, spec.Source)
	if err != nil {
		return nil, err
	}
	if src == nil {
		return nil, notBuilt(spec)
	}
	b.hold(src.dir, src.release)
	kb, err := b.plan(chain, src, spec)
	if err != nil {
		return nil, err
	}
	if !kb.complete() {
		return nil, notBuilt(spec)
	}
	return kb, nil
}

func notBuilt(spec Spec) error {
	command := []string{"kmemgate", "kernel", "build", spec.Source + "/" + spec.Arch}
	for _, fragment := range spec.Config {
		command = append(command, "--config", fragment.Name)
	}
	return &Error{
		Fault: FaultHost, Err: fmt.Errorf("kernel %s for %s is not built", spec.Source, spec.Arch),
		Cure: Quote(command),
	}
}

// resolveCached finds a source without the network; nil if it is not there.
func (b *Builder) resolveCached(ctx context.Context, name string) (*source, error) {
	series, debian := strings.CutPrefix(name, "debian:")
	switch {
	case strings.Contains(name, "://"):
		c, err := b.urlCandidate(name)
		if err != nil {
			return nil, err
		}
		dir, err := b.cache().Path(KindSources, c.key)
		if err != nil || !readable(dir) {
			return nil, err
		}
		return b.take(ctx, c)
	case debian || versionPattern.MatchString(name):
		want, err := parseVersion(series)
		if err != nil {
			return nil, err
		}
		return b.cachedSource(ctx, want, debian), nil
	}
	return b.localSource(ctx, name)
}
