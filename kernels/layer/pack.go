package layer

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Stats is what a layer holds, unpacked.
type Stats struct {
	Files int64
	Bytes int64
}

// Pack writes the named files, links and folders of dir as a tar stream. The
// same files make the same bytes, whoever owns them. What make goes by is kept:
// times to the nanosecond, and whether a file is a program.
func Pack(ctx context.Context, w io.Writer, dir string, names []string, places Places) (Stats, error) {
	p := packer{tar: tar.NewWriter(w), dir: dir, places: places}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return p.stats, err
		}
		if err := p.add(name); err != nil {
			return p.stats, fmt.Errorf("pack %s: %w", filepath.Join(dir, name), err)
		}
	}
	return p.stats, p.tar.Close()
}

type packer struct {
	tar    *tar.Writer
	dir    string
	places Places
	stats  Stats
}

func (p *packer) add(name string) error {
	info, err := os.Lstat(filepath.Join(p.dir, name))
	if err != nil {
		return err
	}
	p.stats.Files++
	switch {
	case info.IsDir():
		return p.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755, ModTime: time.Unix(0, 0)})
	case info.Mode()&fs.ModeSymlink != 0:
		return p.link(name)
	case info.Mode().IsRegular():
		return p.file(name, info)
	}
	return fmt.Errorf("neither file nor folder, but %s", info.Mode().Type())
}

func (p *packer) link(name string) error {
	target, err := os.Readlink(filepath.Join(p.dir, name))
	if err != nil {
		return err
	}
	for placeholder, place := range p.places {
		if target == place {
			target = placeholder
		}
	}
	if err := checkLink(name, target); err != nil {
		return err
	}
	return p.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777, ModTime: time.Unix(0, 0)})
}

func (p *packer) file(name string, info fs.FileInfo) error {
	f, err := os.Open(filepath.Join(p.dir, name))
	if err != nil {
		return err
	}
	defer f.Close()
	head := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode(info), Size: info.Size(), ModTime: info.ModTime()}
	if info.ModTime().Nanosecond() != 0 {
		head.Format = tar.FormatPAX // the others know whole seconds only
	}
	content := io.Reader(f)
	if p.places != nil && info.Size() <= maxText {
		text, err := io.ReadAll(f)
		if err != nil {
			return err
		}
		text, found := p.places.placed(text)
		if found {
			head.Format, head.PAXRecords = tar.FormatPAX, map[string]string{pathsKey: "1"}
		}
		content, head.Size = bytes.NewReader(text), int64(len(text))
	}
	p.stats.Bytes += head.Size
	if err := p.tar.WriteHeader(head); err != nil {
		return err
	}
	_, err = io.Copy(p.tar, content) // of another length: the writer's error
	return err
}

func mode(info fs.FileInfo) int64 {
	if info.Mode()&0o100 != 0 {
		return 0o755
	}
	return 0o644
}
