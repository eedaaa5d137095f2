// Package initramfs makes what a guest runs: the agent (PID 1), u-root's shell
// and commands, and jobs. All of them are newc archives, reproducible to the
// byte; the kernel unpacks several of them one after the other.
package initramfs

import (
	"bytes"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/cavaliergopher/cpio"
)

// File is one file of an archive.
type File struct {
	Name string // relative, with slashes
	// Mode is the permissions; 0 means 0644.
	Mode    uint32
	Content []byte
	// Link, where set, makes it a symbolic link to that target.
	Link string
}

// Archive writes files in their order as a newc archive. Each directory is
// written before what lies in it: the kernel drops a file without its
// directory and says nothing.
func Archive(w io.Writer, files []File) error {
	a := archiver{w: cpio.NewWriter(w), have: map[string]bool{}}
	for _, f := range files {
		if err := a.add(f); err != nil {
			return fmt.Errorf("archive: %s: %w", f.Name, err)
		}
	}
	if err := a.w.Close(); err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	return nil
}

// archiveBytes is an archive in memory.
func archiveBytes(files []File) ([]byte, error) {
	var b bytes.Buffer
	if err := Archive(&b, files); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

type archiver struct {
	w    *cpio.Writer
	have map[string]bool // true: a directory
}

func (a *archiver) add(f File) error {
	if err := checkName(f.Name); err != nil {
		return err
	}
	if _, twice := a.have[f.Name]; twice {
		return fmt.Errorf("the name stands twice in the archive")
	}
	if err := a.directories(path.Dir(f.Name)); err != nil {
		return err
	}
	a.have[f.Name] = false
	content, mode := f.Content, cpio.TypeReg|cpio.FileMode(f.Mode&0o7777)
	if f.Link != "" {
		content, mode = []byte(f.Link), cpio.TypeSymlink|0o777
	} else if f.Mode == 0 {
		mode |= 0o644
	}
	// Times stay zero, and so does Checksum: setting it corrupts the magic.
	h := &cpio.Header{Name: f.Name, Mode: mode, Size: int64(len(content))}
	if err := a.w.WriteHeader(h); err != nil {
		return err
	}
	_, err := a.w.Write(content)
	return err
}

// directories writes dir and its parents, those first.
func (a *archiver) directories(dir string) error {
	if dir == "." {
		return nil
	}
	if isDir, have := a.have[dir]; have {
		if !isDir {
			return fmt.Errorf("%s is a file and a directory", dir)
		}
		return nil
	}
	if err := a.directories(path.Dir(dir)); err != nil {
		return err
	}
	a.have[dir] = true
	return a.w.WriteHeader(&cpio.Header{Name: dir, Mode: cpio.TypeDir | 0o755})
}

// checkName accepts clean relative paths that stay inside.
func checkName(name string) error {
	switch {
	case name == "" || name == "." || path.Clean(name) != name || strings.ContainsRune(name, 0):
		return fmt.Errorf("not a clean path")
	case path.IsAbs(name) || slices.Contains(strings.Split(name, "/"), ".."):
		return fmt.Errorf("the path leads out of the archive")
	case name == "TRAILER!!!":
		return fmt.Errorf("the name ends an archive")
	}
	return nil
}
