package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What may hold a busy module is named: a mount, and a device that is open.
func TestSuspects(t *testing.T) {
	proc := t.TempDir()
	for _, p := range []struct{ pid, comm, exe, fd string }{
		{"1", "init", "/init", "/dev/vport0p1"},
		{"71", "sleep", "/bin/bb", "/dev/foo"},
		{"72", "cat", "/bin/bb", "/dev/null"},
		{"73", "sh", "/bin/bb", "pipe:[1]"},
	} {
		dir := filepath.Join(proc, p.pid)
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "fd"), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "comm"), []byte(p.comm+"\n"), 0o644))
		require.NoError(t, os.Symlink(p.exe, filepath.Join(dir, "exe")))
		require.NoError(t, os.Symlink(p.fd, filepath.Join(dir, "fd", "3")))
		require.NoError(t, os.Symlink(p.fd, filepath.Join(dir, "fd", "4")))
	}
	const table = "rootfs / rootfs rw 0 0\nproc /proc proc rw 0 0\n/dev/rd0 /mnt ext4 rw,relatime 0 0\n"
	require.NoError(t, os.WriteFile(filepath.Join(proc, "mounts"), []byte(table), 0o644))
	list := suspects(proc, "/init")
	assert.Equal(t, []string{"/dev/rd0 mounted on /mnt (ext4)", "/dev/foo open in sleep (pid 71)"}, list)
	assert.Equal(t, "its reference count is 1; what may hold it: /dev/rd0 mounted on /mnt (ext4), /dev/foo open in sleep (pid 71)", heldBy(1, list))
	assert.Contains(t, heldBy(2, nil), "its reference count is 2: an open file, a mount, or a reference")
}
