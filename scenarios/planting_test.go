package scenarios_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/kernels"
)

// plant makes a cache of the test's own that holds the given kernels under their
// keys, each with the patch in its kmemleak. Modules are the user's: they are
// the same for a kernel that differs by this alone. Templates are not.
func plant(t *testing.T, patch string, stock map[string]*kernels.Kernel) *kernels.Cache {
	t.Helper()
	cache := borrowingCache(t, kernels.KindSources, kernels.KindModules, kernels.KindLists, kernels.KindUserland)
	patch, err := filepath.Abs(patch)
	require.NoError(t, err)
	for key, k := range stock {
		_, release, err := cache.Entry(t.Context(), kernels.KindKernels, key, func(ctx context.Context, dir string) error {
			return plantIn(ctx, dir, k, patch)
		})
		require.NoError(t, err)
		t.Cleanup(release)
	}
	return cache
}

// plantIn copies a built kernel to dir and replaces one object of it: the source
// is neither copied nor written to, and nothing but mm/kmemleak.o is compiled.
func plantIn(ctx context.Context, dir string, k *kernels.Kernel, patch string) error {
	if err := run(ctx, "cp", "-a", "--reflink=auto", k.Dir+"/.", dir); err != nil {
		return err
	}
	build := filepath.Join(dir, "build")
	if err := moved(build, k.Build); err != nil {
		return err
	}
	object, err := compilePatched(ctx, build, k, patch)
	if err != nil {
		return err
	}
	before, err := os.ReadFile(filepath.Join(build, "vmlinux"))
	if err != nil {
		return err
	}
	if err := link(ctx, build, k); err != nil {
		return err
	}
	return planted(build, object, before)
}

// moved replaces what make noted of the tree's old place: a command that changed
// is one to run again, and objtool's path stands in every object's.
func moved(build, old string) error {
	return filepath.WalkDir(build, func(path string, d os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".cmd") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(text, []byte(old)) {
			return err
		}
		return os.WriteFile(path, bytes.ReplaceAll(text, []byte(old), []byte(build)), 0o644)
	})
}

// compilePatched compiles a patched copy of mm/kmemleak.c with the command that
// kbuild noted for it, and returns the object.
func compilePatched(ctx context.Context, build string, k *kernels.Kernel, patch string) ([]byte, error) {
	source := filepath.Join(k.Source, "mm/kmemleak.c")
	copied := filepath.Join(build, "kmemleak-planted.c")
	if err := run(ctx, "patch", "--silent", "--fuzz=0", "-o", copied, source, patch); err != nil {
		return nil, err
	}
	note, err := os.ReadFile(filepath.Join(build, "mm/.kmemleak.o.cmd"))
	if err != nil {
		return nil, err
	}
	line, _, _ := strings.Cut(string(note), "\n")
	_, command, ok := strings.Cut(line, ":= ")
	if !ok || !strings.Contains(command, source) {
		return nil, fmt.Errorf("mm/.kmemleak.o.cmd: %.60q: want the command that compiles %s", line, source)
	}
	if err := run(ctx, "sh", "-c", "cd "+kernels.Quote([]string{build})+" && "+strings.ReplaceAll(command, source, copied)); err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(build, "mm/kmemleak.o"))
}

// link has make link the kernel anew, by the line of the build's log: with other
// arguments it would compile all of it.
func link(ctx context.Context, build string, k *kernels.Kernel) error {
	log, err := os.ReadFile(k.Dir + ".log")
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(log)) {
		command, ok := strings.CutPrefix(strings.TrimSpace(line), "+ make ")
		if command, ours := strings.CutSuffix(command, " vmlinux modules"); ok && ours {
			return run(ctx, "sh", "-c", "make "+strings.ReplaceAll(command, k.Build, build)+" vmlinux")
		}
	}
	return fmt.Errorf("%s.log: has no line that builds vmlinux: type kmemgate cache prune, and build the kernel again", k.Dir)
}

// planted makes sure that the new object is in the new kernel: make may have
// found a reason to compile the unpatched source again.
func planted(build string, object, before []byte) error {
	now, err := os.ReadFile(filepath.Join(build, "mm/kmemleak.o"))
	if err != nil {
		return err
	}
	after, err := os.ReadFile(filepath.Join(build, "vmlinux"))
	if err != nil {
		return err
	}
	if !bytes.Equal(now, object) || bytes.Equal(before, after) {
		return fmt.Errorf("%s: the fault is not in it: make compiled kmemleak again, or did not link", build)
	}
	return nil
}

func run(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", kernels.Quote(args), err, out[max(0, len(out)-2000):])
	}
	return nil
}
