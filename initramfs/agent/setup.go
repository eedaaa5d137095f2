package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kmemgate/kmemgate/initramfs/wire"
)

const (
	portName   = "kmemgate"
	debugfs    = "/sys/kernel/debug"
	jobDir     = "/job"
	jobTimeout = 60 * time.Second // of guest time, where the job names none
)

// mounts in their order. devtmpfs may be there already (DEVTMPFS_MOUNT does
// not act on an initramfs, but costs nothing to allow for).
var mounts = []struct {
	source, target, kind string
	optional             bool
}{
	{"proc", "/proc", "proc", false},
	{"sysfs", "/sys", "sysfs", false},
	{"devtmpfs", "/dev", "devtmpfs", false},
	{"tmpfs", "/tmp", "tmpfs", true}, // else a directory of the root, a ramfs
	{"debugfs", debugfs, "debugfs", false},
}

// setUp brings the agent to where it can talk: file systems, log, port, Hello.
func (a *agent) setUp() error {
	a.limit = jobTimeout
	mountErr := mountAll()
	if err := os.MkdirAll(jobDir, 0o755); err != nil {
		return err
	}
	os.Setenv("PATH", "/bin:/bbin:/sbin:/usr/bin:/usr/sbin:"+jobDir)
	os.Setenv("HOME", "/")
	a.log = openKernelLog()
	port, err := openPort()
	if err != nil {
		return err
	}
	a.out = wire.NewWriter(port)
	a.hz = tickRate()
	unref := setMinUnrefScans(unrefFile)
	a.leaks.unref = unref
	hello := wire.Hello{Version: wire.Version, HZ: a.hz, MinUnrefScans: unref, CPUs: onlineCPUs()}
	var uts unix.Utsname
	if err := unix.Uname(&uts); err == nil {
		hello.Release = unix.ByteSliceToString(uts.Release[:])
		hello.Machine = unix.ByteSliceToString(uts.Machine[:])
	}
	if err := a.out.Send(hello); err != nil {
		return err
	}
	return mountErr
}

func mountAll() error {
	var failed error
	for _, m := range mounts {
		if err := os.MkdirAll(m.target, 0o755); err != nil && failed == nil && !m.optional {
			failed = fail(mountReason(m.target), fmt.Errorf("mkdir %s: %w", m.target, err))
			continue
		}
		err := unix.Mount(m.source, m.target, m.kind, 0, "")
		if err != nil && !errors.Is(err, unix.EBUSY) && failed == nil && !m.optional {
			failed = fail(mountReason(m.target), fmt.Errorf("mount %s on %s: %w (is it in the kernel's config?)", m.kind, m.target, err))
		}
	}
	return failed
}

func mountReason(target string) string {
	if target == debugfs {
		return wire.ReasonNoDebugfs
	}
	return wire.ReasonAgent
}

// port is the virtio-serial port, by raw system calls: virtio-console loses a
// wake-up when a blocking writer and Go's poller share a port.
type port int

func (p port) Write(b []byte) (int, error) {
	done := 0
	for done < len(b) {
		n, err := unix.Write(int(p), b[done:])
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
			continue
		}
		if err != nil {
			return done, fmt.Errorf("write to the port: %w", err)
		}
		done += n
	}
	return done, nil
}

// openPort finds the port by its name; the driver may need a moment.
func openPort() (port, error) {
	for range 1000 {
		names, _ := filepath.Glob("/sys/class/virtio-ports/*/name")
		for _, n := range names {
			b, err := readFile(n)
			if err != nil || strings.TrimSpace(string(b)) != portName {
				continue
			}
			dev := "/dev/" + filepath.Base(filepath.Dir(n))
			fd, err := unix.Open(dev, unix.O_WRONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				return -1, fmt.Errorf("open %s: %w", dev, err)
			}
			return port(fd), nil
		}
		sleep(time.Millisecond)
	}
	return -1, fmt.Errorf("no virtio-serial port named %q: the kernel lacks VIRTIO_CONSOLE, or QEMU the device", portName)
}

func onlineCPUs() int {
	dirs, _ := filepath.Glob("/sys/devices/system/cpu/cpu[0-9]*")
	return max(len(dirs), 1)
}
