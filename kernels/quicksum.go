package kernels

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// quickLimit is the disk space up to which an entry's content is compared each time
// it is opened: a template's 45 MB take 6 ms, and a bit of the guest's memory that
// the disk flipped has no other way to show. A kernel's tree, of 300 MB, is above it.
const quickLimit = 128 << 20

// quickBlock is the block of every usual file system.
const quickBlock = 4096

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli) // the one that processors calculate
	zeroBlock  [quickBlock]byte

	// An entry has many small files: a buffer for each is what most of a suite's
	// memory was allocated for.
	pieces = sync.Pool{New: func() any { return new([64 * quickBlock]byte) }}
)

// quickSum sums up a file's blocks, each with its number, but for those of zeros:
// they may be holes here and written there.
func quickSum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	var sum uint32
	piece := pieces.Get().(*[64 * quickBlock]byte)
	defer pieces.Put(piece)
	buf := piece[:]
	for at := int64(0); ; {
		from, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		switch {
		case errors.Is(err, unix.ENXIO): // only a hole is left
			return fmt.Sprintf("%08x", sum), nil
		case errors.Is(err, unix.EINVAL): // this file system knows no holes
			from = at
		case err != nil:
			return "", err
		}
		at = max(at, from-from%quickBlock)
		n, err := f.ReadAt(buf, at)
		if err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		sum = addBlocks(sum, uint64(at/quickBlock), buf[:n])
		at += int64(n)
		if err != nil {
			return fmt.Sprintf("%08x", sum), nil
		}
	}
}

// addBlocks adds the blocks from number first on.
func addBlocks(sum uint32, first uint64, piece []byte) uint32 {
	var number [8]byte
	for n := first; len(piece) > 0; n++ {
		block := piece[:min(quickBlock, len(piece))]
		piece = piece[len(block):]
		if bytes.Equal(block, zeroBlock[:len(block)]) {
			continue
		}
		binary.LittleEndian.PutUint64(number[:], n)
		sum = crc32.Update(crc32.Update(sum, castagnoli, number[:]), castagnoli, block)
	}
	return sum
}
