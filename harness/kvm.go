package harness

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"time"
)

// kvmProbeTime bounds the probe, which takes 0.05 s.
const kvmProbeTime = 20 * time.Second

// kvmProbe asks a QEMU over its monitor, and ends it.
const kvmProbe = `{"execute":"qmp_capabilities"}
{"execute":"query-kvm"}
{"execute":"quit"}
`

// kvmEnabled is its answer where all is well (qapi/machine.json, KvmInfo).
//
// Example: {"return": {"enabled": true, "present": true}}
var kvmEnabled = regexp.MustCompile(`"enabled": ?true`)

// KVM tells why guests of an architecture cannot run under KVM here; nil: they
// can. This is proven, once, by a start of its QEMU: that the device opens says
// little. In a virtual machine whose host holds back some of the processor, QEMU
// aborts while it sets up the guest's registers (7.2, kvm_buf_set_msrs).
func (h *Host) KVM(ctx context.Context, arch string) error {
	f, err := facts(arch)
	if err != nil {
		return err
	}
	program, err := h.program(arch)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if err, ok := h.kvm[program]; ok {
		return err
	}
	err = proveKVM(ctx, f, program, cmp.Or(h.kvmDevice, "/dev/kvm"))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if h.kvm == nil {
		h.kvm = map[string]error{}
	}
	h.kvm[program] = err
	return err
}

// giveUpKVM has further guests emulated. What a virtual machine's host holds back of
// the processor may show no sooner than in a guest: KVM could not execute the first
// XRSTOR of a kernel (QEMU 7.2, "KVM internal error. Suberror: 1").
func (h *Host) giveUpKVM(program, why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.kvm[program] = errors.New(why)
	h.logf("KVM: %s: emulating from now on", why)
}

func proveKVM(ctx context.Context, f archFacts, program, device string) error {
	if f.goarch != runtime.GOARCH {
		return errors.New("it is for guests of this machine's own architecture")
	}
	dev, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	dev.Close()
	ctx, cancel := context.WithTimeout(ctx, kvmProbeTime)
	defer cancel()
	// This QEMU must not outlive us either; the signal comes from this thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	line := append(plan{qemu: program}.launcher(os.Getpid(), nil), "-no-user-config", "-nodefaults", "-display", "none", "-S",
		"-machine", f.machine, "-cpu", f.cpu, "-smp", "2", "-accel", "kvm", "-qmp", "stdio")
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	var answer bytes.Buffer
	said := tail{max: stderrMax}
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = strings.NewReader(kvmProbe), &answer, &said, quitTimeout
	switch err := cmd.Run(); {
	case err != nil:
		return fmt.Errorf("QEMU with it: %w%s", err, said.lastLine())
	case !kvmEnabled.Match(answer.Bytes()):
		return fmt.Errorf("QEMU does not use it%s", said.lastLine())
	}
	return nil
}
