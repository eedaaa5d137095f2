package kernels

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/renameio/v2"
)

// An edited source directory has a new key, hence a new entry. So that it is
// built incrementally all the same, the build tree of the directory's last
// build is copied into it first: make(1) then builds what is newer.

// lastFile names the last complete build of a directory for an architecture
// and compiler.
func (k *kernelBuild) lastFile() string {
	h := sha256.Sum256([]byte(strings.Join([]string{k.src.dir, k.arch, k.chain.version, recipeVersion}, "\n")))
	return filepath.Join(filepath.Dir(k.dir), "last-"+hex.EncodeToString(h[:])[:16]+".key")
}

// remember notes that this is the directory's last build.
func (k *kernelBuild) remember() error {
	if !k.src.local {
		return nil
	}
	if err := renameio.WriteFile(k.lastFile(), []byte(k.key), 0o644); err != nil {
		return hostErr(err, "build %s", k.src.version)
	}
	return nil
}

// seed copies the last build of the same directory. That there is none, or
// that it is damaged or going away, only costs time.
func (k *kernelBuild) seed(ctx context.Context, dir string) error {
	if _, err := os.Stat(k.build()); err == nil || !k.src.local {
		return nil // an interrupted build to go on with
	}
	last, err := os.ReadFile(k.lastFile())
	if err != nil || !safeKey.Match(last) || string(last) == k.key {
		return nil
	}
	old := filepath.Join(filepath.Dir(dir), string(last))
	lock, err := sharedLock(ctx, old, func() {})
	if err != nil {
		return ctx.Err()
	}
	defer lock.release()
	if checkManifest(old, true) != nil {
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
	if err := os.Rename(tmp, k.build()); err != nil {
		return hostErr(fmt.Errorf("%w", err), "build directory")
	}
	return nil
}
