package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kmemgate/kmemgate/initramfs/wire"
)

// shell gives a person the guest: u-root's shell on the console, the job's
// files at hand, modules not loaded. When the shell ends, so does the run.
func (a *agent) shell() error {
	a.dismissSpares()
	tty, err := unix.Open(consoleDevice(), unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fail(wire.ReasonAgent, fmt.Errorf("open the console: %w", err))
	}
	defer unix.Close(tty)
	_, _ = unix.Write(tty, []byte(a.greeting()))
	pid, err := syscall.ForkExec("/bin/sh", []string{"/bin/sh"}, &syscall.ProcAttr{
		Dir:   jobDir,
		Env:   append(syscall.Environ(), "TERM=linux"),
		Files: []uintptr{uintptr(tty), uintptr(tty), uintptr(tty)},
		Sys:   &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0},
	})
	if err != nil {
		return fail(wire.ReasonAgent, fmt.Errorf("start /bin/sh: %w", err))
	}
	for {
		if _, err := unix.Wait4(pid, nil, 0, nil); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	a.reap()
	return nil
}

func (a *agent) greeting() string {
	var b strings.Builder
	b.WriteString("\r\n" + wire.ShellGreeting + " kmemleak scans when told to. As the gate does it:\r\n")
	for _, m := range a.job.Modules {
		fmt.Fprintf(&b, "  insmod %s\r\n", strings.TrimSpace(filepath.Join(jobDir, m.File)+" "+m.Params))
	}
	for i := len(a.job.Modules) - 1; i >= 0; i-- {
		fmt.Fprintf(&b, "  rmmod %s\r\n", a.job.Modules[i].Name)
	}
	fmt.Fprintf(&b, "  sleep 10; echo scan > %[1]s; sleep 6; echo scan > %[1]s; cat %[1]s\r\n", leakFile)
	b.WriteString("The canary's orphans show up too. exit ends the guest.\r\n\r\n")
	return b.String()
}

// consoleDevice is the device behind /dev/console, which itself cannot be a
// controlling terminal: the last name in "tty0 ttyS0".
func consoleDevice() string {
	b, _ := readFile("/sys/class/tty/console/active")
	if names := strings.Fields(string(b)); len(names) > 0 {
		return "/dev/" + names[len(names)-1]
	}
	return "/dev/console"
}
