package kernels

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Bounds of a driver's directory: beyond them, somebody named the wrong one.
const (
	maxDriverFiles = 50_000
	maxDriverBytes = 1 << 30
)

// copyFiles copies a driver's files. A link that leads out of the directory is
// copied as the file it leads to.
func copyFiles(ctx context.Context, from, to string, files []string) error {
	if len(files) > maxDriverFiles {
		return usageErr("name the driver's own directory", "driver %s: %d files", from, len(files))
	}
	var total int64
	for _, file := range files {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := copyFile(filepath.Join(from, file), filepath.Join(to, file), from)
		if err != nil {
			return hostErr(err, "driver %s: copy", from)
		}
		if total += n; total > maxDriverBytes {
			return usageErr("name the driver's own directory", "driver %s: more than %d MB", from, maxDriverBytes>>20)
		}
	}
	return nil
}

func copyFile(from, to, root string) (int64, error) {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return 0, err
	}
	info, err := os.Lstat(from)
	if err != nil {
		return 0, err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		target, err := os.Readlink(from)
		if err != nil {
			return 0, err
		}
		rel, err := filepath.Rel(root, filepath.Join(filepath.Dir(from), target))
		if err == nil && !filepath.IsAbs(target) && filepath.IsLocal(rel) {
			return 0, os.Symlink(target, to)
		}
		if info, err = os.Stat(from); errors.Is(err, fs.ErrNotExist) {
			return 0, os.Symlink(target, to) // it leads nowhere here either: a README of another package
		}
		if err != nil {
			return 0, err
		}
	}
	if !info.Mode().IsRegular() {
		return 0, nil // a socket, a device, a link to a directory: no source
	}
	return copyContent(from, to, info)
}

func copyContent(from, to string, info fs.FileInfo) (int64, error) {
	in, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, info.Mode().Perm()|0o600)
	if err != nil {
		return 0, err
	}
	defer out.Close()
	n, err := io.Copy(out, io.LimitReader(in, maxDriverBytes+1))
	if err != nil {
		return n, err
	}
	return n, out.Close()
}
