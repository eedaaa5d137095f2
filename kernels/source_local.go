package kernels

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
)

// localVersion is the version of the source directory that --kernel names.
func localVersion(name string) (string, error) {
	const forms = "it takes a series (6.12), a version (6.12.30), debian:6.12, a tarball's URL with #sha256=…, or a source directory"
	info, err := os.Stat(name)
	if err != nil {
		return "", usageErr(forms, "kernel %q: no version, and no such directory", name)
	}
	if !info.IsDir() {
		return "", usageErr(forms, "kernel %q: a file, not a source directory", name)
	}
	v, err := treeVersion(name)
	if err != nil {
		return "", usageErr("name the top directory of a kernel source", "kernel %q: %w", name, err)
	}
	return v, nil
}

func (b *Builder) localSource(ctx context.Context, name string) (*source, error) {
	v, err := localVersion(name)
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(name)
	if err != nil {
		return nil, err
	}
	if !makePath(dir) {
		return nil, usageErr("move it to a path without them", "kernel %q: make cannot cope with blanks, colons and the like in a path", dir)
	}
	// Kbuild refuses a separate build directory for a tree that was built in.
	for _, built := range []string{".config", "include/config"} {
		if _, err := os.Stat(filepath.Join(dir, built)); err == nil {
			return nil, usageErr("make -C "+Quote([]string{dir})+" mrproper", "kernel %q: %s is in the way, the tree was built in", dir, built)
		}
	}
	files, err := trackedFiles(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("kernel %q: %w", dir, err)
	}
	content, err := sumContent(ctx, dir, files)
	if err != nil {
		return nil, fmt.Errorf("kernel %q: %w", dir, err)
	}
	b.logf("kernel %s: %s in a directory", name, v)
	return &source{
		dir: dir, key: "dir-" + content.sum()[:24], version: v, origin: dir,
		local: true, content: content, release: func() {},
	}, nil
}

// makePath reports whether make and kbuild can cope with a path.
func makePath(path string) bool { return !strings.ContainsAny(path, " \t\n:;'\"$#%&|<>()*?[]\\") }

// trackedFiles lists the files that make up a source: in a git work tree those
// git tracks and those it would take on (a file that a Makefile names is built
// whether it was added or not), elsewhere all but build output.
func trackedFiles(ctx context.Context, dir string) ([]string, error) {
	if _, err := lookTool("git"); err == nil {
		// --deduplicate would need git 2.31; unmerged files show up thrice.
		ls := &Command{Args: []string{"git", "-C", dir, "ls-files", "-z", "--cached", "--others", "--exclude-standard"}}
		if out, err := ls.Output(ctx); err == nil {
			return existing(ctx, dir, strings.Split(out, "\x00"))
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return walkedFiles(dir)
}

// existing drops files that git still lists but that are gone, and
// repetitions; a directory in git's list is a submodule, with files of its own.
func existing(ctx context.Context, dir string, files []string) ([]string, error) {
	sort.Strings(files)
	var kept []string
	for _, file := range slices.Compact(files) {
		info, err := os.Lstat(filepath.Join(dir, file))
		if file == "" || err != nil {
			continue
		}
		if !info.IsDir() {
			kept = append(kept, file)
			continue
		}
		inner, err := trackedFiles(ctx, filepath.Join(dir, file))
		if err != nil {
			return nil, err
		}
		for _, f := range inner {
			kept = append(kept, filepath.Join(file, f))
		}
	}
	return kept, nil
}

// buildOutput is what kbuild leaves in a directory.
func buildOutput(name string) bool {
	return hasSuffix(name, ".o", ".ko", ".mod", ".mod.c", ".cmd", ".a", ".order", ".symvers")
}

func walkedFiles(dir string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if d.Name() == ".git" || d.Name() == ".tmp_versions" {
				return fs.SkipDir
			}
			return nil
		}
		if buildOutput(d.Name()) || d.Name() == "Module.symvers" {
			return nil
		}
		rel, err := filepath.Rel(dir, path)
		files = append(files, rel)
		return err
	})
	sort.Strings(files)
	return files, err
}
