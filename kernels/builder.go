package kernels

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/kmemgate/kmemgate/kconfig"
)

// Builder makes kernels and modules, and takes from the cache what is made
// already. The zero value works; it may be used by several goroutines. Close
// it when its kernels and modules are no longer used.
type Builder struct {
	// Cache is where everything is kept; nil means the user's cache.
	Cache *Cache
	// Log takes one line per thing worth knowing and a build's progress: a
	// bar where it is a terminal, one line a minute elsewhere; nil drops them.
	Log io.Writer
	// ReleasesURL is kernel.org's releases.json; empty means the real one.
	ReleasesURL string
	// ReleasesKey is the key that signs its sha256sums.asc, armored; empty means
	// kernel.org's own.
	ReleasesKey string
	// ReleasesTimeout is how long kernel.org may take to answer before Debian
	// is asked; 0 means 10 s.
	ReleasesTimeout time.Duration
	// HTTPClient fetches tarballs; nil means one that follows redirects, but
	// none from https to http.
	HTTPClient *http.Client
	// Stall is how long a download may go without a byte; 0 means a minute.
	Stall time.Duration

	mu    sync.Mutex
	held  map[string]func() // the entries in use, by directory
	known map[string]*Kernel
	told  map[string]bool // what is said once
	store *Cache
	trees map[string]*kconfig.Tree // by source and architecture
	tools map[string]*toolchain    // by architecture and compiler
}

// toolchain is findToolchain's, asked once: it starts the compiler and the linker.
func (b *Builder) toolchain(ctx context.Context, arch string, llvm bool) (*toolchain, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	name := fmt.Sprint(arch, llvm)
	if t := b.tools[name]; t != nil {
		return t, nil
	}
	t, err := findToolchain(ctx, arch, llvm)
	if err != nil {
		return nil, err
	}
	if b.tools == nil {
		b.tools = map[string]*toolchain{}
	}
	b.tools[name] = t
	return t, nil
}

// first reports whether something is said for the first time.
func (b *Builder) first(what string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.told == nil {
		b.told = map[string]bool{}
	}
	said := b.told[what]
	b.told[what] = true
	return !said
}

// Close lets go of the cache entries in use, which can be evicted from then on.
func (b *Builder) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, release := range b.held {
		release()
	}
	b.held, b.known = nil, nil
}

// hold keeps an entry in use until Close. Each costs a descriptor, so that one
// that is asked for again and again is held once.
func (b *Builder) hold(dir string, release func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held[dir] != nil {
		release()
		return
	}
	if b.held == nil {
		b.held = map[string]func(){}
	}
	b.held[dir] = release
}

func (b *Builder) holds(dir string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held[dir] != nil
}

func (b *Builder) cache() *Cache {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.store == nil {
		b.store = b.Cache
		if b.store == nil {
			b.store = &Cache{Log: b.Log}
		}
	}
	return b.store
}

func (b *Builder) downloader() *downloader {
	return &downloader{client: b.HTTPClient, stall: b.Stall}
}

func (b *Builder) logf(format string, args ...any) {
	if b.Log == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	fmt.Fprintf(b.Log, format+"\n", args...)
}

// recipeVersion is part of every kernel's key: raise it when the way kernels
// are built changes so that old builds must not be used.
const recipeVersion = "7"

// Kernel returns the kernel that spec asks for, from the cache or built. It
// stays in the cache until Close, and until then "6.12" is the same kernel
// however often it is asked for.
func (b *Builder) Kernel(ctx context.Context, spec Spec) (*Kernel, error) {
	name := spec.name()
	b.mu.Lock()
	k := b.known[name]
	b.mu.Unlock()
	if k != nil {
		return k, nil
	}
	k, local, err := b.findKernel(ctx, spec)
	if err != nil || local { // whose source may have changed the next time
		return k, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.known == nil {
		b.known = map[string]*Kernel{}
	}
	b.known[name] = k
	return k, nil
}

// name tells specs apart.
func (s Spec) name() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%q %q %t", s.Source, s.Arch, s.LLVM)
	for _, f := range s.Config {
		for _, o := range f.Options {
			fmt.Fprintf(&b, " %s", o)
		}
	}
	return b.String()
}

func (b *Builder) findKernel(ctx context.Context, spec Spec) (k *Kernel, local bool, err error) {
	chain, err := b.toolchain(ctx, spec.Arch, spec.LLVM)
	if err != nil {
		return nil, false, err
	}
	src, err := b.resolve(ctx, spec.Source)
	if err != nil {
		return nil, false, err
	}
	kb, err := b.plan(chain, src, spec)
	if err == nil && !kb.complete() {
		if kb.src, err = b.recheck(ctx, spec.Source, src); err == nil && kb.src.key != src.key {
			kb, err = b.plan(chain, kb.src, spec)
		}
	}
	if err != nil {
		src.release()
		return nil, false, err
	}
	b.hold(kb.src.dir, kb.src.release)
	k, err = kb.kernel(ctx)
	return k, kb.src.local, err
}

// plan works out what is to be built, and its key, without building.
func (b *Builder) plan(chain *toolchain, src *source, spec Spec) (*kernelBuild, error) {
	tree, err := b.tree(src, spec.Arch)
	if err != nil {
		return nil, &Error{Fault: FaultKernel, Err: fmt.Errorf("kernel %s: %w", src.version, err)}
	}
	base, err := kconfig.Base(tree, spec.Arch)
	if err != nil {
		return nil, &Error{Fault: FaultKernel, Err: fmt.Errorf("kernel %s: %w", src.version, err)}
	}
	own, err := kconfig.Merge(spec.Config...)
	if err != nil {
		return nil, &Error{Fault: FaultUsage, Err: err}
	}
	if err := kconfig.Known(own, tree); err != nil {
		return nil, configErr(src, spec.Arch, err)
	}
	want := kconfig.Override(base, own)
	key := kernelKey(chain, src, spec.Arch, want)
	dir, err := b.cache().Path(KindKernels, key)
	if err != nil {
		return nil, err
	}
	if !makePath(dir) {
		return nil, &Error{
			Fault: FaultHost, Err: fmt.Errorf("cache %q: make cannot cope with blanks, colons and the like in a path", dir),
			Cure: "set XDG_CACHE_HOME to a plain path",
		}
	}
	k := &kernelBuild{b: b, chain: chain, src: src, spec: spec, arch: spec.Arch, tree: tree, want: want, key: key, dir: dir}
	if !k.complete() {
		k.takePulled()
	}
	return k, nil
}

// tree is the source's Kconfig files, read once where the source cannot change.
func (b *Builder) tree(src *source, arch string) (*kconfig.Tree, error) {
	if src.local {
		return kconfig.ReadTree(os.DirFS(src.dir), arch)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	key := arch + " " + src.dir
	if b.trees[key] != nil {
		return b.trees[key], nil
	}
	tree, err := kconfig.ReadTree(os.DirFS(src.dir), arch)
	if err != nil {
		return nil, err
	}
	if b.trees == nil {
		b.trees = map[string]*kconfig.Tree{}
	}
	b.trees[key] = tree
	return tree, nil
}

// kernelKey is "6.12.117-x86_64-" and a sum over all that makes a kernel.
func kernelKey(chain *toolchain, src *source, arch string, want kconfig.Fragment) string {
	return keyOf(recipeVersion, src, arch, chain.version, chain.llvm, optionLines(want))
}

func keyOf(recipe string, src *source, arch, compiler string, llvm bool, options []string) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%s\n%s\n%t\n", recipe, src.key, arch, compiler, llvm)
	if src.local {
		fmt.Fprintln(h, src.dir) // module names in debug information, and make's own files
	}
	fmt.Fprintln(h, strings.Join(options, "\n"))
	return fmt.Sprintf("%s-%s-%s", keySafe(src.version), arch, hex.EncodeToString(h.Sum(nil))[:12])
}

// kernelRelease reads the release string of a finished build.
func kernelRelease(build string) (string, error) {
	text, err := os.ReadFile(filepath.Join(build, "include/config/kernel.release"))
	return strings.TrimSpace(string(text)), err
}
