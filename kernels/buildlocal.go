package kernels

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/kmemgate/kmemgate/kconfig"
)

// An edited source directory has a new key, hence a new entry, and so has a
// source with one option more (a driver's kernel that grew by need). So that
// they are built incrementally all the same, the build tree of an earlier build
// of the source is copied into it first: make(1) then builds what is newer, or
// what asks for an option that changed.

const contentFiles = "source.sums" // in an entry: the content it was built from

// rememberContent notes the content of an edited directory, which must still
// be what the build's key says.
func (k *kernelBuild) rememberContent(ctx context.Context) error {
	now, err := sumContent(ctx, k.src.dir, k.src.content.paths())
	if err != nil {
		return hostErr(err, "build %s", k.src.version)
	}
	if now.sum() != k.src.content.sum() {
		return &Error{
			Fault: FaultHost, Err: fmt.Errorf("build %s: the source in %s changed while it was built", k.src.version, k.src.dir),
			Cure: "run again once it holds still",
		}
	}
	var text bytes.Buffer
	if _, err := now.WriteTo(&text); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(k.dir, contentFiles), text.Bytes(), 0o644); err != nil {
		return hostErr(err, "build %s", k.src.version)
	}
	return nil
}

// seed copies an earlier build of the same source. That there is none, or
// that it is damaged or going away, only costs time.
func (k *kernelBuild) seed(ctx context.Context, dir string) error {
	if _, err := os.Stat(k.build()); err == nil {
		return nil // an interrupted build to go on with
	}
	old, release := k.nearest(ctx)
	if old == "" {
		return ctx.Err()
	}
	defer release()
	k.b.logf("kernel %s: building on %s", k.src.version, filepath.Base(old))
	tmp := k.build() + ".tmp"
	if err := os.RemoveAll(tmp); err != nil {
		return hostErr(err, "build directory")
	}
	// cp keeps the times that make goes by, and shares blocks where it can.
	cp := &Command{Args: []string{"cp", "-a", "--reflink=auto", filepath.Join(old, "build"), tmp}}
	if err := cp.Run(ctx); err != nil {
		return buildErr(err, FaultHost, "copy an earlier build")
	}
	if err := settle(tmp, filepath.Join(old, "build"), k.build()); err != nil {
		return hostErr(err, "build directory")
	}
	if err := os.WriteFile(filepath.Join(k.dir, seededFile), []byte(filepath.Base(old)), 0o644); err != nil {
		return hostErr(err, "build directory")
	}
	if err := os.Rename(tmp, k.build()); err != nil {
		return hostErr(err, "build directory")
	}
	return nil
}

const seededFile = "seeded"

func (k *kernelBuild) seeded() bool {
	_, err := os.Stat(filepath.Join(k.dir, seededFile))
	return err == nil
}

// nearest is the entry of the earlier build whose configuration differs least
// from what is wanted, and is smallest; it is kept until release. A driver's
// kernel is built on the base or on that of a driver of its kind.
func (k *kernelBuild) nearest(ctx context.Context) (dir string, release func()) {
	entries, err := k.b.cache().list(KindKernels) // the last used comes last
	if err != nil {
		return "", nil
	}
	best, least := "", 0
	for _, e := range entries {
		if e.Kind != KindKernels || !e.Complete || e.Path == k.dir || !k.sameSource(e.Path) {
			continue
		}
		if n, ok := k.distance(e.Path); ok && (best == "" || n <= least) {
			best, least = e.Path, n
		}
	}
	if best == "" {
		return "", nil
	}
	lock, err := sharedLock(ctx, best, func() {})
	if err != nil {
		return "", nil
	}
	if checkManifest(best, true) != nil || k.outOfOrder(best) {
		lock.release()
		return "", nil
	}
	return best, lock.release
}

func (k *kernelBuild) sameSource(entry string) bool {
	info, err := readKernelInfo(entry)
	return err == nil && info.Arch == k.arch && info.Compiler == k.chain.version && info.LLVM == k.chain.llvm &&
		(info.SourceKey == k.src.key || k.src.local && info.SourceDir == k.src.dir)
}

// distance tells how far an entry's configuration is from what is wanted.
func (k *kernelBuild) distance(entry string) (n int, ok bool) {
	file, err := os.Open(filepath.Join(entry, "build/.config"))
	if err != nil {
		return 0, false
	}
	defer file.Close()
	config, err := kconfig.Parse(file, file.Name())
	if err != nil {
		return 0, false
	}
	return apart(config.Options, k.want.Options), true
}

// optionsEach is how many others an option brings that is asked for: those that it
// needs, selects and turns on by default (on 6.12 for x86_64, MD with BLK_DEV_DM
// brings four, SCSI seven, ACPI fifty).
const optionsEach = 20

// apart counts what is on, as all that is on and not wanted has to be turned off,
// and what is asked for and not as asked, with what that brings. A kernel with all
// of a sweep's options is no start for one with two of them.
func apart(has, want []kconfig.Option) (n int) {
	values := map[string]string{}
	for _, o := range has {
		if values[o.Name] = o.Value; o.Value != "n" {
			n++
		}
	}
	for _, o := range want {
		if cmp.Or(values[o.Name], "n") != o.Value {
			n += optionsEach
		}
	}
	return n
}

// settle makes a copied build tree at home in its new place. What make noted
// of its commands names the old one here and there, objtool's above all, and a
// command that changed has everything that depends on it built again: every
// object on objtool. Modules that the new configuration has no more would stay;
// the others are linked again from their objects.
func settle(tree, from, to string) error {
	stale, err := findFiles(tree, ".ko")
	if err != nil {
		return err
	}
	for _, ko := range stale {
		if err := os.Remove(filepath.Join(tree, ko)); err != nil {
			return err
		}
	}
	notes, err := findFiles(tree, ".cmd")
	if err != nil {
		return err
	}
	for _, note := range notes {
		file := filepath.Join(tree, note)
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if !bytes.Contains(text, []byte(from)) {
			continue
		}
		if err := os.WriteFile(file, bytes.ReplaceAll(text, []byte(from), []byte(to)), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// outOfOrder reports whether a file differs from the last build's but is older
// than that build, as after `git stash`, `cp -p` or a checkout by rsync: make
// goes by times and would keep the wrong object.
func (k *kernelBuild) outOfOrder(old string) bool {
	if !k.src.local {
		return false // what a key of the cache names never changes
	}
	sums, err := readContent(filepath.Join(old, contentFiles))
	if err != nil {
		return true
	}
	built, err := os.Stat(filepath.Join(old, kernelJSON))
	if err != nil {
		return true
	}
	for _, f := range k.src.content {
		if sums[strconv.Quote(f.path)] == f.sum {
			continue
		}
		info, err := os.Lstat(filepath.Join(k.src.dir, f.path))
		if err != nil || !info.ModTime().After(built.ModTime()) {
			return true
		}
	}
	return false
}
