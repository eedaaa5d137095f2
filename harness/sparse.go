package harness

import (
	"bytes"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// sparseBlock is a page of the guest and a block of every usual file system.
const sparseBlock = 4096

// data calls f for each piece of a file that is not a hole.
func data(f *os.File, each func(from, to int64) error) error {
	for at := int64(0); ; {
		from, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil // only a hole is left
		}
		if err != nil {
			return err
		}
		to, err := unix.Seek(int(f.Fd()), from, unix.SEEK_HOLE)
		if err != nil {
			return err
		}
		if err := each(from, to); err != nil {
			return err
		}
		at = to
	}
}

// digHoles gives back the blocks of a file that hold only zeros: pages that
// the guest cleared and never used.
func digHoles(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	zero := make([]byte, sparseBlock)
	buf := make([]byte, 256*sparseBlock)
	err = data(f, func(from, to int64) error {
		for at := from; at < to; at += int64(len(buf)) {
			piece := buf[:min(to-at, int64(len(buf)))]
			if _, err := f.ReadAt(piece, at); err != nil && err != io.EOF {
				return err
			}
			if err := dig(f, at, piece, zero); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil // such a file system keeps the zeros
	}
	return err
}

// dig makes holes of the zero blocks in a piece of the file, neighbours in
// one call.
func dig(f *os.File, at int64, piece, zero []byte) error {
	begin := -1
	for i := 0; i <= len(piece); i += sparseBlock {
		if i+sparseBlock <= len(piece) && bytes.Equal(piece[i:i+sparseBlock], zero) {
			if begin < 0 {
				begin = i
			}
			continue
		}
		if begin >= 0 {
			err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, at+int64(begin), int64(i-begin))
			if err != nil {
				return err
			}
			begin = -1
		}
	}
	return nil
}

// copySparse copies a file and its holes.
func copySparse(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	if err := out.Truncate(info.Size()); err != nil {
		return err
	}
	err = data(in, func(begin, end int64) error {
		_, err := io.Copy(io.NewOffsetWriter(out, begin), io.NewSectionReader(in, begin, end-begin))
		return err
	})
	return errors.Join(err, out.Close())
}
