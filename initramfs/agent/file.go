package main

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/kmemgate/kmemgate/initramfs/wire"
)

// readFile is os.ReadFile by raw system calls: the os package hands a file of sysfs to
// Go's poller, which costs three system calls more, and code for each clone to translate.
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
