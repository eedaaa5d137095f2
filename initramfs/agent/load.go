package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kmemgate/kmemgate/initramfs/wire"
)

// load loads one module and tells where it came to lie.
func (c *worker) load(r request) error {
	l, err := c.insert(r)
	if sendErr := c.out.Send(l); sendErr != nil {
		return sendErr
	}
	return err
}

// insert is finit_module and all that has to be learned around it. The
// sections of a refused module come from the kernel's log: there is no
// /sys/module of it, and what its init leaked has no line without them.
func (c *worker) insert(r request) (wire.Load, error) {
	m := r.Module
	l := wire.Load{Module: m.Name, UnderTest: m.UnderTest, Cycle: r.Cycle, PID: os.Getpid(), Begin: jiffies()}
	fd, err := unix.Open(m.File, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		l.Errno = errnoName(err)
		return l, fail(wire.ReasonLoadFailed, fmt.Errorf("%s: %w", m.File, err))
	}
	defer unix.Close(fd)
	if err := unix.FinitModule(fd, m.Params, 0); err != nil {
		l.End = jiffies()
		l.Errno = errnoName(err)
		l.Sections, err = c.refusal(m, err)
		return l, fail(wire.ReasonLoadFailed, err)
	}
	l.Inited = jiffies()
	l.Sections = sections(m.Name)
	l.Size = coreSize(m.Name)
	l.Bound = bound(m.Name)
	return l, nil
}

// refusal reads the kernel's log of a load that failed: the module's
// addresses, and the reason in the kernel's or the driver's own words.
func (c *worker) refusal(m wire.JobModule, err error) (map[string]uint64, error) {
	var said [][]byte
	var addresses sectionLog
	c.log.each(func(line []byte) {
		if !addresses.take(line) && !bytes.Contains(line, []byte(": loading out-of-tree module taints kernel")) {
			said = append(said, line)
		}
	})
	said = said[max(0, len(said)-5):]
	if len(said) == 0 {
		return addresses.at, fmt.Errorf("load %s: %s: %w", m.Name, errnoName(err), err)
	}
	return addresses.at, fmt.Errorf("load %s: %s: %w: the kernel's last words:\n%s", m.Name, errnoName(err), err, bytes.Join(said, []byte("\n")))
}

// sectionLog gathers what move_module prints under dynamic debug
// (kernel/module/main.c):
//
//	Final section addresses for foo:
//		0xffffffffc0000000 0x00000123 .text
//
// Kernels before 6.4 print neither the name nor the size.
type sectionLog struct{ at map[string]uint64 }

func (s *sectionLog) take(line []byte) bool {
	_, text, _ := strings.Cut(string(line), "] ")
	if strings.HasPrefix(strings.ToLower(text), "final section addresses") {
		s.at = map[string]uint64{}
		return true
	}
	if s.at == nil || !strings.HasPrefix(text, "\t0x") {
		return false
	}
	f := strings.Fields(text)
	addr, err := strconv.ParseUint(f[0][2:], 16, 64)
	if err != nil || len(f) < 2 {
		return false
	}
	s.at[f[len(f)-1]] = addr
	return true
}

// sections reads /sys/module/X/sections: .init.text too, whose memory is gone
// by now, but not its address.
func sections(name string) map[string]uint64 {
	dir := filepath.Join("/sys/module", name, "sections")
	list, err := names(dir)
	if err != nil {
		return nil
	}
	at := map[string]uint64{}
	for _, section := range list {
		b, err := readFile(dir + "/" + section)
		if err != nil {
			continue
		}
		addr, err := strconv.ParseUint(strings.TrimPrefix(strings.TrimSpace(string(b)), "0x"), 16, 64)
		if err == nil && addr != 0 {
			at[section] = addr
		}
	}
	return at
}

// coreSize reads the second field of the module's line in /proc/modules:
// "foo 16384 0 - Live 0xffffffffc0000000 (O)".
func coreSize(name string) uint64 {
	b, err := readFile("/proc/modules")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(b) {
		if f := strings.Fields(string(line)); len(f) > 1 && f[0] == name {
			n, _ := strconv.ParseUint(f[1], 10, 64)
			return n
		}
	}
	return 0
}

// bound lists the devices under the module's drivers: /sys/module/X/drivers
// holds links named BUS:DRIVER, whose targets hold a link for each device.
func bound(name string) []string {
	dir := "/sys/module/" + name + "/drivers/"
	drivers, _ := names(dir)
	var list []string
	for _, d := range drivers {
		devices, _ := names(dir + d + "/")
		for _, e := range devices {
			target, err := os.Readlink(dir + d + "/" + e)
			if err == nil && strings.Contains(target, "/devices/") {
				list = append(list, d+":"+e)
			}
		}
	}
	sort.Strings(list)
	return list[:min(len(list), 200)] // a message is bounded
}

// unload removes one module. A driver may still be on its way out of a queue,
// so a busy one is asked again for two seconds.
func (c *worker) unload(r request) error {
	u := wire.Unload{Module: r.Module.Name, Cycle: r.Cycle, Bound: bound(r.Module.Name)}
	err := remove(r.Module.Name)
	u.Jiffies = jiffies()
	if err != nil {
		u.Errno = errnoName(err)
		u.Holders, u.RefCnt = holders(r.Module.Name)
		err = fail(wire.ReasonUnloadFailed, fmt.Errorf("unload %s: %w: %s", r.Module.Name, err, inUseBy(u)))
	}
	if sendErr := c.out.Send(u); sendErr != nil {
		return sendErr
	}
	return err
}

func remove(name string) error {
	for end := uptime() + 2*time.Second; ; sleep(50 * time.Millisecond) {
		err := unix.DeleteModule(name, unix.O_NONBLOCK)
		busy := errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EBUSY)
		if !busy || uptime() > end {
			return err
		}
	}
}

func holders(name string) (by []string, refs int) {
	by, _ = names(filepath.Join("/sys/module", name, "holders"))
	sort.Strings(by)
	b, _ := readFile(filepath.Join("/sys/module", name, "refcnt"))
	refs, _ = strconv.Atoi(strings.TrimSpace(string(b)))
	return by[:min(len(by), 64)], refs
}

func inUseBy(u wire.Unload) string {
	switch {
	case len(u.Holders) > 0:
		return "held by the modules " + strings.Join(u.Holders, ", ")
	case u.RefCnt > 0:
		own, _ := os.Readlink("/proc/self/exe")
		return heldBy(u.RefCnt, suspects("/proc", own))
	case u.Errno == "EBUSY":
		return "it has an init function and no exit function, or its state forbids it (for such a module: unload: false)"
	}
	return "nothing holds it"
}

// canary loads and unloads kmemleak-test and tells of both in one message.
func (c *worker) canary(r request) error {
	l, err := c.insert(r)
	l.Canary = true
	if err == nil {
		err = remove(r.Module.Name)
		l.End = jiffies()
	}
	if sendErr := c.out.Send(l); sendErr != nil {
		return sendErr
	}
	if err != nil {
		return &trouble{wire.ReasonCanaryLoad, fmt.Errorf("kmemleak-test: %w", err)}
	}
	return nil
}

func errnoName(err error) string {
	var errno unix.Errno
	if !errors.As(err, &errno) {
		return "EIO"
	}
	if name := unix.ErrnoName(errno); name != "" {
		return name
	}
	return fmt.Sprintf("E%d", int(errno)) // the kernel's own, e.g. 517, EPROBE_DEFER
}
