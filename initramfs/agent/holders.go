package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxSuspects bounds a message.
const maxSuspects = 8

// suspects are what may hold a module that is in use: mounts that the job made,
// and device files that processes have open. The kernel counts references and
// keeps no list of who has them, so these are what is known to take one.
func suspects(proc, own string) []string {
	text, _ := readFile(filepath.Join(proc, "mounts"))
	list := append(jobMounts(text), openDevices(proc, own)...)
	return list[:min(len(list), maxSuspects)]
}

// jobMounts are the mounts that the agent has not made.
//
// Example: /dev/rd0 /mnt ext4 rw,relatime 0 0
func jobMounts(text []byte) []string {
	var list []string
	for line := range bytes.Lines(text) {
		f := strings.Fields(string(line))
		if len(f) < 3 || f[1] == "/" {
			continue
		}
		ours := false
		for _, m := range mounts {
			ours = ours || m.target == f[1]
		}
		if !ours {
			list = append(list, fmt.Sprintf("%s mounted on %s (%s)", f[0], f[1], f[2]))
		}
	}
	return list
}

// everyones are device files that tell nothing.
var everyones = []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/console", "/dev/kmsg", "/dev/tty"}

// openDevices are the device files that processes have open, but for the agent's
// own: own is its program.
func openDevices(proc, own string) []string {
	fds, _ := filepath.Glob(filepath.Join(proc, "[0-9]*", "fd", "*"))
	var list []string
	for _, fd := range fds {
		target, err := os.Readlink(fd)
		dir := filepath.Dir(filepath.Dir(fd))
		exe, _ := os.Readlink(filepath.Join(dir, "exe"))
		if err != nil || !strings.HasPrefix(target, "/dev/") || slices.Contains(everyones, target) || exe == own {
			continue
		}
		comm, _ := readFile(filepath.Join(dir, "comm"))
		list = append(list, fmt.Sprintf("%s open in %s (pid %s)", target, bytes.TrimSpace(comm), filepath.Base(dir)))
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// heldBy words the suspects.
func heldBy(refs int, list []string) string {
	if len(list) == 0 {
		return fmt.Sprintf("its reference count is %d: an open file, a mount, or a reference that it never dropped", refs)
	}
	return fmt.Sprintf("its reference count is %d; what may hold it: %s", refs, strings.Join(list, ", "))
}
