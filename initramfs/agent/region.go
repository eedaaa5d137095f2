package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/kmemgate/kmemgate/initramfs/wire"
)

// region is the memory of QEMU's ivshmem-plain device, mapped.
type region []byte

// openRegion finds the PCI device 1af4:1110 and maps its BAR 2, where the job
// lies. It needs no driver.
func openRegion() (region, error) {
	devices, _ := filepath.Glob("/sys/bus/pci/devices/*")
	for _, d := range devices {
		if id(d, "vendor") != "0x1af4" || id(d, "device") != "0x1110" {
			continue
		}
		if _, err := writeFile(d+"/enable", "1"); err != nil {
			return nil, fmt.Errorf("enable %s: %w", filepath.Base(d), err)
		}
		// Write-combining, where the BAR is prefetchable: plain resource2 is
		// device memory on arm64, where unaligned loads fault.
		if r, err := mapFile(d + "/resource2_wc"); err == nil {
			return r, nil
		}
		return mapFile(d + "/resource2")
	}
	return nil, errors.New("no ivshmem device (PCI 1af4:1110): QEMU lacks it, or the kernel PCI")
}

func id(dir, name string) string {
	b, _ := readFile(filepath.Join(dir, name))
	return strings.TrimSpace(string(b))
}

func mapFile(path string) (region, error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("stat %s: %w", path, err)
	}
	if st.Size < wire.JobOffset {
		return nil, fmt.Errorf("%s has %d bytes", path, st.Size)
	}
	b, err := unix.Mmap(fd, 0, int(st.Size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", path, err)
	}
	return b, nil
}

// ReadAt copies by aligned words, for the sake of device memory.
func (r region) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= int64(len(r)) {
		return 0, io.EOF
	}
	n := min(len(p), len(r)-int(off))
	for i := 0; i < n; {
		at := (int(off) + i) &^ 7
		word := r.word(at)
		i += copy(p[i:n], word[int(off)+i-at:])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// word loads the eight bytes at an aligned offset; a BAR's size is a power of two.
func (r region) word(at int) [8]byte {
	w := *(*uint64)(unsafe.Pointer(&r[at]))
	return *(*[8]byte)(unsafe.Pointer(&w))
}

func (r region) close() { _ = unix.Munmap(r) }

// await polls until the magic is there. The host stops the guest in this loop,
// saves it as a template, and lets clones of it go on with a job in place.
func (r region) await() {
	for {
		if w := r.word(0); string(w[:]) == wire.JobMagic {
			return
		}
		sleep(time.Millisecond)
	}
}
