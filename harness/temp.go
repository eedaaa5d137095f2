package harness

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"

	"github.com/gofrs/flock"
)

// tempPrefix marks our folders, so that those of killed runs can be told.
const tempPrefix = "kmemgate-vm-"

// tempDir is a private folder with a lock on it for as long as its process
// lives: a folder without a locked lock was left by a run that was killed.
type tempDir struct {
	path string
	lock *flock.Flock
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
			return nil, hostError("", "%w", err)
		}
		lock := flock.New(filepath.Join(path, "lock"))
		held, err := lock.TryLock()
		if held && exists(lock.Path()) {
			return &tempDir{path, lock}, nil
		}
		os.RemoveAll(path)
		// Another run's sweep may come between the folder and its lock.
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, hostError("", "lock %s: %w", path, err)
		}
	}
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
		lock := flock.New(filepath.Join(dir, "lock"))
		if held, _ := lock.TryLock(); held {
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
