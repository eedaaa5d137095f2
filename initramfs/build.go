package initramfs

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Cache finds the entry kind/key or has it made: make fills an empty directory,
// and the entry is there whole or not at all. kernels.Cache.Entry is one.
type Cache func(ctx context.Context, kind, key string, make func(ctx context.Context, dir string) error) (path string, release func(), err error)

// cacheKind is the cache's folder of guest programs.
const cacheKind = "userland"

// Where the agent expects the modules that come with the kernel.
const (
	CanaryPath = "lib/kmemgate/kmemleak-test.ko"
	NoScanPath = "lib/kmemgate/kmemgate_noscan.ko"
)

// KernelArgs are the kernel arguments that the agent counts on: the detector on
// where the kernel was built with DEFAULT_OFF, addresses as they are, the same
// ones in every run. With init_on_alloc no object starts its life with addresses
// of dead ones in it, which would hide leaks: on 6.1 the string "virtio0" lay on
// a freed vm_struct, whose address the canary's first vmalloc got (measured).
//
// A slab cache with a debug flag keeps no free objects per CPU. Those of 7.x, the
// sheaves, are arrays that every scan reads and that name objects long after they
// were handed out: 10 of kmemleak-test's 25 orphans were reported, and with the
// flag all 25 (measured, 7.3.4). F, the consistency checks, changes no object's
// size, costs a hundredth of a scan, and tells of a double free.
const KernelArgs = "kmemleak=on no_hash_pointers nokaslr init_on_alloc=1 slub_debug=F"

// Prebuilt holds, where it is set, agent-ARCH.cpio and userland-ARCH.cpio: a release
// carries them, so that its users need no Go toolchain (build tag
// kmemgate_prebuilt).
var Prebuilt fs.FS

// Builder compiles the guest's programs with the machine's Go toolchain, from
// the sources of this module, once.
type Builder struct {
	Cache Cache
	// Go is the go command; empty means the one in PATH.
	Go string
	// Log takes one line where something is compiled; nil drops it.
	Log io.Writer
}

// goArch are the architectures' names in Go.
var goArch = map[string]string{"x86_64": "amd64", "arm64": "arm64"}

// Agent returns the path of an archive that holds the agent as /init, for arch
// ("x86_64" or "arm64"). Until release is called the file stays.
func (b *Builder) Agent(ctx context.Context, arch string) (path string, release func(), err error) {
	return b.entry(ctx, "agent", arch, buildAgent, agentSources)
}

// Userland returns the path of an archive of u-root's shell and commands.
func (b *Builder) Userland(ctx context.Context, arch string) (path string, release func(), err error) {
	return b.entry(ctx, "userland", arch, buildUserland, userlandSources)
}

// KernelModules writes an archive with a kernel's own kmemleak-test.ko, and with
// the module that takes memory out of kmemleak's scans.
func KernelModules(w io.Writer, canary, noScan []byte) error {
	return Archive(w, []File{{Name: CanaryPath, Content: canary}, {Name: NoScanPath, Content: noScan}})
}

// entry is the cache entry of one program: its key is made of all that goes
// into the program, so that an edited agent is never mistaken for the old one.
func (b *Builder) entry(ctx context.Context, name, arch string,
	build func(context.Context, *source, string) ([]File, error), sources func(*source) ([]byte, error),
) (string, func(), error) {
	if goArch[arch] == "" {
		return "", nil, fmt.Errorf("guest programs: unknown architecture %q, want x86_64 or arm64", arch)
	}
	file := name + "-" + arch + ".cpio"
	if Prebuilt != nil {
		return b.fill(ctx, file, func() (string, error) {
			sum, err := fs.ReadFile(Prebuilt, file)
			return digest([]byte(file), sum), err
		}, func(_ context.Context, dir string) error { return copyPrebuilt(dir, file) })
	}
	src, err := findSource(ctx, b.goCommand(), goArch[arch])
	if err != nil {
		return "", nil, err
	}
	key := func() (string, error) {
		text, err := sources(src)
		return digest([]byte(file), []byte(src.version), text), err
	}
	return b.fill(ctx, file, key, func(ctx context.Context, dir string) error {
		b.logf("compiling the guest's %s for %s", name, arch)
		files, err := build(ctx, src, dir)
		if err != nil {
			return fmt.Errorf("guest %s for %s: %w", name, arch, err)
		}
		return writeArchive(filepath.Join(dir, file), files)
	})
}

func (b *Builder) fill(ctx context.Context, file string, key func() (string, error), make func(context.Context, string) error) (string, func(), error) {
	k, err := key()
	if err != nil {
		return "", nil, fmt.Errorf("guest programs: %w", err)
	}
	dir, release, err := b.Cache(ctx, cacheKind, k, make)
	if err != nil {
		return "", nil, err
	}
	return filepath.Join(dir, file), release, nil
}

func (b *Builder) goCommand() string {
	if b.Go != "" {
		return b.Go
	}
	return "go"
}

func (b *Builder) logf(format string, args ...any) {
	if b.Log != nil {
		fmt.Fprintf(b.Log, format+"\n", args...)
	}
}

func writeArchive(path string, files []File) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := Archive(f, files); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

func copyPrebuilt(dir, file string) error {
	b, err := fs.ReadFile(Prebuilt, file)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, file), b, 0o644)
}

// digest is a cache key: 128 bits of the sum of parts, each with its length.
func digest(parts ...[]byte) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:", len(p))
		h.Write(p)
	}
	return fmt.Sprintf("%x", h.Sum(nil)[:16])
}

// sourcesOf is the text of the Go files of directories and single files below
// root, with their names, for a key.
func sourcesOf(root string, names ...string) ([]byte, error) {
	var all []byte
	for _, name := range names {
		files := []string{filepath.Join(root, name)}
		if st, err := os.Stat(files[0]); err != nil {
			return nil, err
		} else if st.IsDir() {
			if files, err = filepath.Glob(filepath.Join(files[0], "*.go")); err != nil {
				return nil, err
			}
		}
		for _, f := range files {
			if strings.HasSuffix(f, "_test.go") {
				continue
			}
			b, err := os.ReadFile(f)
			if err != nil {
				return nil, err
			}
			all = fmt.Appendf(all, "%s %d\n%s", filepath.Base(f), len(b), b)
		}
	}
	return all, nil
}
