package harness

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// tempPrefix marks our folders, so that those of killed runs can be told.
const tempPrefix = "kmemgate-vm-"

// tempDir is a private folder with a lock on it for as long as its process
// lives: a folder without a locked lock was left by a run that was killed. The
// lock belongs to the open file, so that a QEMU that outlives us can inherit it.
type tempDir struct {
	path string
	lock *os.File
}

// newTempDir sweeps what killed runs left behind and makes a new folder.
func newTempDir(root string) (*tempDir, error) {
	if root == "" {
		root = os.TempDir()
	}
	sweepTemp(root)
	for {
		path, err := os.MkdirTemp(root, tempPrefix)
		if err != nil {
			return nil, hostError("free some space", "%w", err)
		}
		lock, err := lockDir(path)
		if err == nil && exists(lock.Name()) {
			return &tempDir{path, lock}, nil
		}
		os.RemoveAll(path)
		// Another run's sweep may come between the folder and its lock.
		if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, hostError("", "lock %s: %w", path, err)
		}
	}
}

// lockDir takes a folder's lock, or fails at once.
func lockDir(path string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(path, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// sweepTemp removes the folders whose owner is gone. It errs on the side of
// leaving one: what cannot be locked or is another user's stays.
func sweepTemp(root string) {
	dirs, _ := filepath.Glob(filepath.Join(root, tempPrefix+"*"))
	for _, dir := range dirs {
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() || info.Sys().(*syscall.Stat_t).Uid != uint32(os.Geteuid()) {
			continue
		}
		if lock, err := lockDir(dir); err == nil {
			os.RemoveAll(dir)
			lock.Close()
		}
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// file is the path of a file in the folder.
func (d *tempDir) file(name string) string { return filepath.Join(d.path, name) }

// remove deletes the folder and everything in it.
func (d *tempDir) remove() error {
	return errors.Join(os.RemoveAll(d.path), d.lock.Close())
}
