package main

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/kmemgate/kmemgate/initramfs/wire"
)

// What each clone does to a file is done by raw system calls: the os package hands it to
// Go's poller, which costs three system calls more, and code for each clone to translate.

// readFile is os.ReadFile.
func readFile(path string) ([]byte, error) { return readToEOF(path, 4<<10, wire.MaxStream) }

// readToEOF reads a file of up to limit bytes, into a buffer that has room for so many
// at first.
func readToEOF(path string, room, limit int) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	text := make([]byte, 0, room)
	for {
		if len(text) == cap(text) {
			text = append(text, 0)[:len(text)]
		}
		n, err := unix.Read(fd, text[len(text):cap(text)])
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return nil, err
		case n == 0:
			return text, nil
		}
		text = text[:len(text)+max(n, 0)]
		if len(text) > limit {
			return nil, fmt.Errorf("over %d bytes", limit)
		}
	}
}

// writeFile makes exactly one write.
func writeFile(path, s string) (int, error) {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	return unix.Write(fd, []byte(s))
}

// names are the names in a folder, in the order of the kernel's.
func names(dir string) ([]string, error) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var list []string
	buf := make([]byte, 8<<10)
	for {
		n, err := unix.ReadDirent(fd, buf)
		if err != nil || n <= 0 {
			return list, err
		}
		_, _, list = unix.ParseDirent(buf[:n], -1, list)
	}
}

// makeDir is os.MkdirAll, quick where the folder above is there.
func makeDir(path string, mode uint32) error {
	if err := unix.Mkdir(path, mode); err == nil || errors.Is(err, unix.EEXIST) {
		return nil
	}
	return os.MkdirAll(path, os.FileMode(mode))
}

// fileWriter writes to the file of this descriptor.
type fileWriter int

func (fd fileWriter) Write(p []byte) (int, error) {
	for n := 0; ; {
		more, err := unix.Write(int(fd), p[n:])
		n += max(more, 0)
		if n == len(p) || err != nil && !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
