package kernels

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"

	"github.com/kmemgate/kmemgate/kconfig"
)

// kernelBuild is a kernel that is planned, built or both. Its cache entry:
//
//	build/       the tree that make O= fills, without its objects
//	stripped/    the kernel's own modules without DWARF, for the guest, and noScanModule
//	kernel.json  kernelInfo
//	seeded       where there was an earlier build to go on from: its key
//	pulled.json  pulledInfo, where it came from a registry
type kernelBuild struct {
	b     *Builder
	chain *toolchain
	src   *source
	spec  Spec
	arch  string
	tree  *kconfig.Tree
	want  kconfig.Fragment
	key   string
	dir   string // the cache entry
	// pulled says that it came from a registry, and from another compiler.
	pulled bool
}

// kernelInfo is kernel.json.
type kernelInfo struct {
	Release   string `json:"release"`
	Arch      string `json:"arch"`
	Origin    string `json:"origin"`
	SourceKey string `json:"source_key"`
	SourceDir string `json:"source_dir"`
	Compiler  string `json:"compiler"`
	LLVM      bool   `json:"llvm,omitempty"`
	Objects   int    `json:"objects"` // that were built, for the next one's bar; 0: a few
}

const kernelJSON = "kernel.json"

func (k *kernelBuild) build() string   { return filepath.Join(k.dir, "build") }
func (k *kernelBuild) logFile() string { return k.dir + ".log" }
func (k *kernelBuild) complete() bool  { return readable(k.dir) }

// kernel returns the finished kernel, building it first where it is missing.
func (k *kernelBuild) kernel(ctx context.Context) (*Kernel, error) {
	if !k.b.holds(k.dir) { // what is held was whole when it was taken, and nobody else may touch it
		dir, release, err := k.take(ctx)
		if err != nil {
			return nil, err
		}
		k.b.hold(dir, release)
	}
	info, err := readKernelInfo(k.dir)
	if err != nil {
		return nil, hostErr(err, "kernel %s", k.key)
	}
	kernel := k.b.kernelAt(k.dir, info)
	kernel.Source, kernel.Spec = k.src.dir, k.spec
	return kernel, nil
}

func (k *kernelBuild) take(ctx context.Context) (dir string, release func(), err error) {
	if k.pulled {
		release, err = k.usePulled(ctx)
		return k.dir, release, err
	}
	return k.b.cache().entry(ctx, KindKernels, k.key, recipe{make: k.make, inPlace: true, doing: "builds it"})
}

// make builds in place: where a build was interrupted, make(1) goes on.
func (k *kernelBuild) make(ctx context.Context, dir string) error {
	log, err := os.Create(k.logFile())
	if err != nil {
		return hostErr(err, "build log")
	}
	defer log.Close()
	if err := k.seed(ctx, dir); err != nil {
		return err
	}
	if err := os.MkdirAll(k.build(), 0o755); err != nil {
		return hostErr(err, "build directory")
	}
	if err := k.configure(ctx, log); err != nil {
		return err
	}
	objects, err := k.compile(ctx, log)
	if err != nil {
		return err
	}
	if err := k.finish(ctx, log, objects); err != nil {
		return err
	}
	return log.Close()
}

// configure writes .config: tinyconfig, then what we want, then what the
// kernel makes of it, which is compared with what we want.
func (k *kernelBuild) configure(ctx context.Context, log *os.File) error {
	if err := k.run(ctx, log, nil, "tinyconfig"); err != nil {
		return err
	}
	config := filepath.Join(k.build(), ".config")
	if err := appendFragment(config, k.want); err != nil {
		return hostErr(err, "configure")
	}
	if err := k.run(ctx, log, nil, "olddefconfig"); err != nil {
		return err
	}
	return k.verify(config)
}

func (k *kernelBuild) verify(config string) error {
	f, err := os.Open(config)
	if err != nil {
		return hostErr(err, "configure")
	}
	defer f.Close()
	got, err := kconfig.Parse(f, config)
	if err == nil {
		err = kconfig.Verify(k.want, got, k.tree)
	}
	if err != nil {
		return configErr(k.src, k.arch, err)
	}
	return nil
}

func configErr(src *source, arch string, err error) error {
	return &Error{Fault: FaultKernel, Err: fmt.Errorf("configure %s %s: %w", src.version, arch, err)}
}

func appendFragment(config string, f kconfig.Fragment) error {
	var text bytes.Buffer
	if _, err := f.WriteTo(&text); err != nil {
		return err
	}
	file, err := os.OpenFile(config, os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := file.Write(text.Bytes()); err != nil {
		return err
	}
	return file.Close()
}

// compile builds the image and the modules and returns how many objects that took.
func (k *kernelBuild) compile(ctx context.Context, log *os.File) (int, error) {
	expected, sure := k.expected()
	first := countObjects(k.build())
	seeded := k.seeded()
	if seeded {
		expected, first = 0, 0 // how many an option touches is not known
	}
	p := newProgress(k.b, fmt.Sprintf("kernel %s %s", k.src.version, k.arch), expected, sure, first)
	k.b.logf("kernel %s %s: building with %s, log in %s", k.src.version, k.arch, k.chain.version, k.logFile())
	defer p.stop()
	err := k.run(ctx, log, p.line, k.chain.facts.target, "modules")
	if seeded {
		return 0, err // tells the next one nothing
	}
	return p.count(), err
}

// run calls make in the kernel's tree.
func (k *kernelBuild) run(ctx context.Context, log *os.File, line func(string), targets ...string) error {
	args := append(k.chain.makeArgs(k.src.dir, k.build()), "CFLAGS_MODULE="+modulePaths(k.src.dir, k.build()), k.chain.scanFlags())
	c := &Command{Args: append(args, targets...), Log: log, LogFile: log.Name(), Line: line}
	fmt.Fprintf(log, "+ %s\n", Quote(c.Args))
	err := c.Run(ctx)
	if err == nil || ctx.Err() != nil {
		return err
	}
	return buildErr(err, FaultKernel, fmt.Sprintf("build %s %s", k.src.version, k.arch))
}

// finish strips the modules for the guest and writes kernel.json. Objects stay,
// a third of the tree: the next kernel of this source is built from them.
func (k *kernelBuild) finish(ctx context.Context, log *os.File, objects int) error {
	release, err := kernelRelease(k.build())
	if err != nil {
		return &Error{Fault: FaultKernel, Err: fmt.Errorf("build %s: %w", k.src.version, err), Log: log.Name()}
	}
	if _, err := os.Stat(filepath.Join(k.build(), k.chain.facts.image)); err != nil {
		return &Error{Fault: FaultKernel, Err: fmt.Errorf("build %s: no image: %w", k.src.version, err), Log: log.Name()}
	}
	if err := k.stripModules(ctx, log); err != nil {
		return err
	}
	if err := k.buildNoScan(ctx, log); err != nil {
		return err
	}
	text, err := json.MarshalIndent(kernelInfo{
		Release: release, Arch: k.arch, Origin: k.src.origin, SourceKey: k.src.key, SourceDir: k.src.dir,
		Compiler: k.chain.version, LLVM: k.chain.llvm, Objects: objects,
	}, "", "  ")
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(filepath.Join(k.dir, kernelJSON), text, 0o644); err != nil {
		return hostErr(err, "build %s", k.src.version)
	}
	if k.src.local {
		return k.rememberContent(ctx)
	}
	return nil
}

func readKernelInfo(dir string) (info kernelInfo, err error) {
	text, err := os.ReadFile(filepath.Join(dir, kernelJSON))
	if err != nil {
		return info, err
	}
	if err := json.Unmarshal(text, &info); err != nil {
		return info, fmt.Errorf("%s: %w", filepath.Join(dir, kernelJSON), err)
	}
	return info, nil
}

// stripModules puts a copy without DWARF of every module into stripped/.
func (k *kernelBuild) stripModules(ctx context.Context, log *os.File) error {
	out := filepath.Join(k.dir, "stripped")
	if err := os.RemoveAll(out); err != nil {
		return hostErr(err, "strip")
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return hostErr(err, "strip")
	}
	modules, err := findFiles(k.build(), ".ko")
	if err != nil {
		return hostErr(err, "strip")
	}
	for _, ko := range modules {
		if err := k.chain.strip(ctx, filepath.Join(k.build(), ko), filepath.Join(out, filepath.Base(ko)), log); err != nil {
			return err
		}
	}
	return nil
}

func (t *toolchain) strip(ctx context.Context, from, to string, log *os.File) error {
	c := &Command{Args: []string{t.objcopy(), "--strip-debug", from, to}, Log: log, LogFile: log.Name()}
	if err := c.Run(ctx); err != nil {
		return buildErr(err, FaultHost, "strip")
	}
	return nil
}

// findFiles returns the paths, relative to dir, of files with a suffix.
func findFiles(dir, suffix string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, suffix) {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		files = append(files, rel)
		return err
	})
	return files, err
}
