package layer

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Limits bound what a layer may unpack to. The zero value allows nothing.
type Limits struct {
	Stats
	// Under are the folders at the top that the layer may write to.
	Under []string
}

// Unpack writes a tar stream into an empty folder, or beside what other layers
// wrote there. The stream is not trusted: a name or a link that leads out of the
// folder, a name that is there already, anything but files, folders and symbolic
// links, and more than the limits are errors, and what was written up to then is
// the caller's to remove.
func Unpack(ctx context.Context, r io.Reader, root *os.Root, places Places, limits Limits) error {
	u := unpacker{root: root, places: places, left: limits.Stats, under: limits.Under, links: map[string]bool{}}
	files := tar.NewReader(r)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		head, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := u.add(head, files); err != nil {
			return err
		}
	}
}

type unpacker struct {
	root   *os.Root
	places Places
	left   Stats
	under  []string
	links  map[string]bool
}

func (u *unpacker) add(head *tar.Header, content io.Reader) error {
	name := strings.TrimSuffix(head.Name, "/")
	if err := u.check(name); err != nil {
		return err
	}
	if u.left.Files--; u.left.Files < 0 {
		return errors.New("it holds more files than it may")
	}
	if u.left.Bytes -= head.Size; head.Size < 0 || u.left.Bytes < 0 {
		return fmt.Errorf("%q: it holds more bytes than it may", name)
	}
	if head.Typeflag == tar.TypeDir {
		return u.root.MkdirAll(name, 0o755)
	}
	if dir := path.Dir(name); dir != "." {
		if err := u.root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	switch head.Typeflag {
	case tar.TypeSymlink:
		return u.link(name, head.Linkname)
	case tar.TypeReg:
		return u.file(name, head, content)
	}
	return fmt.Errorf("%q is neither file, folder nor symbolic link (type %q)", name, head.Typeflag)
}

// check refuses a name that leads out of the folder, by itself or through a link
// that the layer laid before. os.Root would stop most of it; here it is told.
func (u *unpacker) check(name string) error {
	if !filepath.IsLocal(name) || path.Clean(name) != name || strings.ContainsAny(name, "\\\x00") {
		return fmt.Errorf("the name %q leads out of its folder", name)
	}
	if top, _, _ := strings.Cut(name, "/"); !slices.Contains(u.under, top) {
		return fmt.Errorf("the name %q lies outside of %s", name, strings.Join(u.under, ", "))
	}
	for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
		if u.links[dir] {
			return fmt.Errorf("the name %q leads through the link %q", name, dir)
		}
	}
	return nil
}

func (u *unpacker) link(name, target string) error {
	if err := checkLink(name, target); err != nil {
		return err
	}
	u.links[name] = true
	if place, ok := u.places[target]; ok {
		target = place // ours, not the stream's
	}
	return u.root.Symlink(target, name)
}

func (u *unpacker) file(name string, head *tar.Header, content io.Reader) error {
	f, err := u.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fs.FileMode(head.Mode)&0o755|0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if head.PAXRecords[pathsKey] != "" {
		err = u.text(f, head, content)
	} else {
		_, err = io.Copy(f, content)
	}
	if err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	if err := f.Close(); err != nil {
		return err
	}
	return u.root.Chtimes(name, head.ModTime, head.ModTime)
}

func (u *unpacker) text(w io.Writer, head *tar.Header, content io.Reader) error {
	if head.Size > maxText {
		return errors.New("too large for a text with paths")
	}
	text, err := io.ReadAll(content)
	if err != nil {
		return err
	}
	_, err = w.Write(u.places.settled(text))
	return err
}
