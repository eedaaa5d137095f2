package kernels

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/google/renameio/v2"
)

// An edited source directory has a new key, hence a new entry, and so has a
// source with one option more (a driver's kernel that grew by need). So that
// they are built incrementally all the same, the build tree of the source's
// last build is copied into it first: make(1) then builds what is newer, or
// what asks for an option that changed.

// lastFile names the last complete build of a directory for an architecture
// and compiler.
func (k *kernelBuild) lastFile() string {
	h := sha256.Sum256([]byte(strings.Join([]string{k.src.dir, k.arch, k.chain.version, recipeVersion}, "\n")))
	return filepath.Join(filepath.Dir(k.dir), "last-"+hex.EncodeToString(h[:])[:16]+".key")
}

const contentFiles = "source.sums" // in an entry: the content it was built from

// remember notes what was built, and that this is the source's last build.
func (k *kernelBuild) remember(ctx context.Context) error {
	if k.src.local {
		if err := k.rememberContent(ctx); err != nil {
			return err
		}
	}
	if err := renameio.WriteFile(k.lastFile(), []byte(k.key), 0o644); err != nil {
		return hostErr(err, "build %s", k.src.version)
	}
	return nil
}

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

// seed copies the last build of the same source. That there is none, or
// that it is damaged or going away, only costs time.
func (k *kernelBuild) seed(ctx context.Context, dir string) error {
	if _, err := os.Stat(k.build()); err == nil {
		return nil // an interrupted build to go on with
	}
	last, err := os.ReadFile(k.lastFile())
	if err != nil || !safeKey.Match(last) || string(last) == k.key {
		return nil
	}
	old := filepath.Join(filepath.Dir(dir), string(last))
	lock, err := sharedLock(ctx, old, func() {})
	if err != nil {
		return ctx.Err() // any other reason only costs time
	}
	defer lock.release()
	if checkManifest(old, true) != nil || k.outOfOrder(old) {
		return nil
	}
	k.b.logf("kernel %s: building on the last build of %s", k.src.version, k.src.dir)
	tmp := k.build() + ".tmp"
	if err := os.RemoveAll(tmp); err != nil {
		return hostErr(err, "build directory")
	}
	// cp keeps the times that make goes by, and shares blocks where it can.
	cp := &Command{Args: []string{"cp", "-a", "--reflink=auto", filepath.Join(old, "build"), tmp}}
	if err := cp.Run(ctx); err != nil {
		return buildErr(err, FaultHost, "copy the last build")
	}
	// Modules that the new configuration has no more would stay; the others are
	// linked again from their objects.
	stale, err := findFiles(tmp, ".ko")
	if err != nil {
		return hostErr(err, "build directory")
	}
	for _, ko := range stale {
		if err := os.Remove(filepath.Join(tmp, ko)); err != nil {
			return hostErr(err, "build directory")
		}
	}
	if err := os.Rename(tmp, k.build()); err != nil {
		return hostErr(err, "build directory")
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
