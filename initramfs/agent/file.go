package main

import (
	"errors"
	"slices"

	"golang.org/x/sys/unix"
)

// readFile is os.ReadFile by raw system calls: the os package hands a file of sysfs to
// Go's poller, which costs three system calls more, and code for each clone to translate.
func readFile(path string) ([]byte, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	text := make([]byte, 0, 4<<10)
	for {
		n, err := unix.Read(fd, text[len(text):cap(text)])
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return nil, err
		case n <= 0:
			return text, nil
		default:
			text = slices.Grow(text[:len(text)+n], 1)
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
