package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/cavaliergopher/cpio"
	"golang.org/x/sys/unix"

	"github.com/kmemgate/kmemgate/initramfs/wire"
)

// awaitJob waits for the job and unpacks it.
func (a *agent) awaitJob() error {
	r := a.region
	defer r.close()
	r.await()
	archive, err := wire.ReadJob(r, int64(len(r)))
	if err == nil {
		a.job, err = unpackJob(archive, jobDir)
	}
	if err != nil {
		return memory(fail(wire.ReasonBadJob, err))
	}
	if a.job.TimeoutNS > 0 {
		a.limit = time.Duration(a.job.TimeoutNS)
	}
	return offerFirmware(firmwareFiles, firmwarePath)
}

// unpackJob writes the archive's files below dir and returns its first, the
// job itself.
func unpackJob(archive io.Reader, dir string) (wire.Job, error) {
	var job wire.Job
	r := cpio.NewReader(archive)
	for n := 0; ; n++ {
		h, err := r.Next()
		if errors.Is(err, io.EOF) && n > 0 {
			return job, nil
		}
		if err == nil && h.Size < 0 { // cpio takes a number with a sign, and reads it until it panics
			err = fmt.Errorf("%s: a size of %d", h.Name, h.Size)
		}
		if err != nil {
			return job, fmt.Errorf("job archive: %w", err)
		}
		if n == 0 {
			if job, err = decodeJob(h, r); err != nil {
				return job, err
			}
			continue
		}
		if err := unpackFile(h, r, dir); err != nil {
			return job, fmt.Errorf("job archive: %s: %w", h.Name, err)
		}
	}
}

func decodeJob(h *cpio.Header, r io.Reader) (wire.Job, error) {
	var job wire.Job
	if h.Name != wire.JobFile || h.Size > wire.MaxJobJSON {
		return job, fmt.Errorf("job archive: first file is %q of %d bytes, want %s", h.Name, h.Size, wire.JobFile)
	}
	d := json.NewDecoder(r)
	d.DisallowUnknownFields() // an option that is not understood must not be ignored
	if err := d.Decode(&job); err != nil {
		return job, fmt.Errorf("%s: %w", wire.JobFile, err)
	}
	return job, nil
}

func unpackFile(h *cpio.Header, r io.Reader, dir string) error {
	if !filepath.IsLocal(h.Name) {
		return errors.New("the name leads out of the archive")
	}
	path := filepath.Join(dir, h.Name)
	switch {
	case h.Mode.IsDir():
		return makeDir(path, uint32(h.Mode.Perm())|0o700)
	case !h.Mode.IsRegular():
		return fmt.Errorf("mode %v: want a file or a directory", h.Mode)
	}
	if err := makeDir(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	fd, err := unix.Open(path, unix.O_CREAT|unix.O_WRONLY|unix.O_TRUNC|unix.O_CLOEXEC, uint32(h.Mode.Perm()))
	if err != nil {
		return err
	}
	n, err := io.Copy(fileWriter(fd), r)
	if err == nil && n != h.Size { // to io.Copy, an archive that is cut ends well
		err = fmt.Errorf("%d bytes of %d: %w", n, h.Size, io.ErrUnexpectedEOF)
	}
	return errors.Join(err, unix.Close(fd))
}
