package kernels

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// content is what a directory holds: a sum over mode and bytes of each file.
type content []contentFile

type contentFile struct{ path, sum string }

// sumContent sums up the named files of a directory.
func sumContent(ctx context.Context, dir string, files []string) (content, error) {
	c := make(content, 0, len(files))
	for _, file := range files {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		sum, err := sumFile(filepath.Join(dir, file))
		if errors.Is(err, fs.ErrNotExist) {
			continue // edited while we look
		}
		if err != nil {
			return nil, err
		}
		c = append(c, contentFile{file, sum})
	}
	return c, nil
}

func sumFile(path string) (string, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(path)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "link %q\n", target)
	case info.Mode().IsRegular(): // a socket or a device is no source
		fmt.Fprintf(h, "file %t\n", info.Mode()&0o111 != 0)
		f, err := os.Open(path)
		if err != nil {
			return "", err
		}
		defer f.Close()
		if _, err := io.Copy(h, f); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// sum is the content address of it all.
func (c content) sum() string {
	h := sha256.New()
	_, _ = c.WriteTo(h) // a hash takes every byte
	return hex.EncodeToString(h.Sum(nil))
}

func (c content) paths() []string {
	paths := make([]string, len(c))
	for i, f := range c {
		paths[i] = f.path
	}
	return paths
}

// WriteTo writes one line a file:
//
//	SHA256 "PATH"
func (c content) WriteTo(w io.Writer) (int64, error) {
	var text strings.Builder
	for _, f := range c {
		fmt.Fprintf(&text, "%s %q\n", f.sum, f.path)
	}
	n, err := io.WriteString(w, text.String())
	return int64(n), err
}

// readContent reads what WriteTo wrote, as sums by quoted path.
func readContent(file string) (map[string]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sums := map[string]string{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		sum, path, ok := strings.Cut(lines.Text(), " ")
		if !ok {
			return nil, fmt.Errorf("%s: line %.60q", file, lines.Text())
		}
		sums[path] = sum
	}
	return sums, lines.Err()
}
