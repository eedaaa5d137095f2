package wire

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The job's place in shared memory: a header, then a newc archive.
const (
	// JobMagic is written last and read first: a region without it holds no
	// job yet.
	JobMagic = "KMGJOB1\n"
	// JobOffset is where the archive begins: a page, so that host and guest
	// can map the two apart.
	JobOffset = 4096
	// JobFile is the name of the archive's first file, a Job in JSON.
	JobFile = "job.json"
	// RegionSize is the size of the PCI device's memory and bounds the job.
	RegionSize = 64 << 20
	// MaxJobJSON bounds job.json.
	MaxJobJSON = 1 << 20
)

// ErrNoJob means that the region holds no job yet.
var ErrNoJob = errors.New("no job in shared memory")

// Header describes the archive: its length and its sum.
type Header struct {
	Length int64
	SHA256 [sha256.Size]byte
}

// EncodeHeader makes the region's first page for an archive:
// magic (8 bytes), length (8, big endian), sha256 (32), zeros.
func EncodeHeader(archive []byte) []byte {
	page := make([]byte, JobOffset)
	copy(page, JobMagic)
	binary.BigEndian.PutUint64(page[8:], uint64(len(archive)))
	sum := sha256.Sum256(archive)
	copy(page[16:], sum[:])
	return page
}

// DecodeHeader reads the first page of a region of size bytes.
func DecodeHeader(page []byte, size int64) (Header, error) {
	if len(page) < 48 || string(page[:8]) != JobMagic {
		return Header{}, ErrNoJob
	}
	length := binary.BigEndian.Uint64(page[8:])
	if length > uint64(max(size-JobOffset, 0)) {
		return Header{}, fmt.Errorf("job of %d bytes in shared memory of %d", length, size)
	}
	h := Header{Length: int64(length)}
	copy(h.SHA256[:], page[16:])
	return h, nil
}

// ReadJob returns the archive in a region of size bytes, once its sum was
// checked: the reader is at the archive's start.
func ReadJob(region io.ReaderAt, size int64) (*io.SectionReader, error) {
	page := make([]byte, JobOffset)
	if _, err := region.ReadAt(page, 0); err != nil {
		return nil, fmt.Errorf("read the job's header: %w", err)
	}
	h, err := DecodeHeader(page, size)
	if err != nil {
		return nil, err
	}
	archive := io.NewSectionReader(region, JobOffset, h.Length)
	sum := sha256.New()
	if _, err := io.Copy(sum, archive); err != nil {
		return nil, fmt.Errorf("read the job: %w", err)
	}
	if [sha256.Size]byte(sum.Sum(nil)) != h.SHA256 {
		return nil, errors.New("the job in shared memory does not have the sum that its header names")
	}
	_, err = archive.Seek(0, io.SeekStart)
	return archive, err
}
