package harness

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/hugelgupf/vmtest/qemu"

	"github.com/kmemgate/kmemgate/initramfs"
)

const (
	// jobSize is the shared memory that a job is laid into: 20 MB of modules
	// and room to grow. It is sparse, untouched pages cost nothing. A PCI
	// BAR's size is a power of two.
	jobSize = 64 << 20
	// portName is the virtio-serial port that the agent answers on.
	portName = "kmemgate"
	// defaultMemory is enough for a tiny kernel, kmemleak's pool and the
	// agent with 20 MB of modules. A scan walks every page, so that a
	// larger guest is a slower one.
	defaultMemory = "128M"
	// warpShift makes one guest instruction last 2^3 ns. Across 8 shifts the
	// results were the same (measured); 3 gave the fastest boots.
	warpShift = 3
)

// archFacts are what differs between architectures.
type archFacts struct {
	vmtest  qemu.Arch
	program string // of QEMU
	machine string
	cpu     string
	console string // the kernel's name of the serial port
	cmdline string // kernel arguments beyond everyone's
	once    string // more of them, for a guest that boots for itself alone
	bios    bool   // there is one, which takes memory of its own
	// goarch is Go's name of the same machine, to tell whether KVM fits.
	goarch string
	linear uint64 // where the kernel maps all RAM, without KASLR; 0: its .config tells
	ram    uint64 // physical address of RAM
}

var arches = map[string]archFacts{
	"x86_64": {
		vmtest:  qemu.ArchAMD64,
		program: "qemu-system-x86_64",
		machine: "pc",                    // microvm gained nothing and has no PCI (measured)
		cpu:     "max,erms=off,fsrm=off", // with them the kernel clears memory byte by byte, and TCG steps through each
		console: "ttyS0",
		// An NMI from QEMU then prints where a guest hangs that takes no interrupts.
		// QEMU's TSC is reliable, and 7.x wants that proven by a clock that this machine
		// has not: an idle guest then ticks 250 times a second, all through free time.
		cmdline: "unknown_nmi_panic tsc=reliable",
		// Half of a boot is the local APIC's calibration: 100 ms of waiting by PAUSE, which
		// leaves QEMU's loop each time. Without that timer the PIT ticks, 36 times a second
		// at least: dearer for clones, whose free time would not be, but cheaper for one boot.
		once:   "nolapic_timer",
		bios:   true,
		goarch: "amd64",
		linear: 0xffff888000000000, // Documentation/arch/x86/x86_64/mm.rst, 4-level
	},
	"arm64": {
		vmtest:  qemu.ArchArm64,
		program: "qemu-system-aarch64",
		machine: "virt",
		cpu:     "max,pauth=off", // pointer authentication triples the boot under TCG: 7.6 s, without 2.4 s
		console: "ttyAMA0",
		goarch:  "arm64",
		ram:     0x40000000, // hw/arm/virt.c
	},
}

// facts looks up an architecture.
func facts(arch string) (archFacts, error) {
	f, ok := arches[arch]
	if !ok {
		return archFacts{}, Usagef("architecture %q: want x86_64 or arm64", arch)
	}
	return f, nil
}

// role is what a VM is started for; it decides how its memory is shared.
type role int

const (
	roleCold  role = iota // boots, works, ends
	roleMaker             // boots and is saved as a template
	roleClone             // restored from a template
)

// plan is everything that QEMU's command line is made of.
type plan struct {
	Machine
	facts      archFacts
	role       role
	qemu       string // path of the program
	kvm        bool
	idle       bool   // let an idle guest sleep: for a person at a prompt
	orphan     bool   // QEMU outlives us (Keep)
	debug      bool   // a debugger may attach
	ram        string // file behind the guest's RAM; empty: anonymous
	job        string // file behind the job's memory
	con        string // FIFOs of the console, without .in and .out
	port       string // FIFOs of the agent's port
	initrd     string // archives, concatenated
	consoleMax int    // bytes of the console that are kept
	qmpFD      int
	extra      []string // arguments that the guest cannot see
}

// share is "on" only where the maker's writes must reach the template's file.
func (p plan) share() string {
	if p.role == roleMaker {
		return "on"
	}
	return "off"
}

// detectorArg is the kernel argument that turns kmemleak on or off.
const detectorArg = "kmemleak="

// kernelArgs is the guest's command line. Where the machine's own part names
// kmemleak, ours does not; with no value, as "kmemleak=", nobody does: a kernel
// with DEFAULT_OFF then stays as it was built.
func (p plan) kernelArgs() string {
	own := strings.Fields(p.Cmdline)
	args := strings.Fields("console=" + p.facts.console + " " + initramfs.KernelArgs)
	if slices.ContainsFunc(own, func(a string) bool { return strings.HasPrefix(a, detectorArg) }) {
		args = slices.DeleteFunc(args, func(a string) bool { return strings.HasPrefix(a, detectorArg) })
		own = slices.DeleteFunc(own, func(a string) bool { return a == detectorArg })
	}
	args = append(args, "panic=-1") // reboot at once, which -no-reboot makes an end
	args = append(args, strings.Fields(p.facts.cmdline)...)
	if p.Clock != ClockReal && p.SMP <= 1 && (p.role == roleCold || p.blind(slices.Concat(args, own))) {
		args = append(args, strings.Fields(p.facts.once)...)
	}
	if p.facts.bios && len(p.Devices) > 0 {
		args = append(args, initrdStays(cmp.Or(p.Memory, defaultMemory))...)
	}
	if p.Kernel != nil {
		args = append(args, slabArgs(p.Kernel.Config)...)
	}
	return strings.Join(append(args, own...), " ") // its own last, so that it wins
}

// blind tells whether the kernel's arguments or its configuration switch off what the
// guest needs to get as far as to be saved.
func (p plan) blind(args []string) bool {
	said := slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, detectorArg) })
	return slices.Contains(args, "debugfs=off") || slices.Contains(args, detectorArg+"off") ||
		!said && p.Kernel != nil && configured(p.Kernel.Config, "CONFIG_DEBUG_KMEMLEAK_DEFAULT_OFF")
}

// args is QEMU's command line without the program, the kernel and its
// arguments. What a template's clones see must stay the same for all of them.
func (p plan) args() []string {
	memory, smp := cmp.Or(p.Memory, defaultMemory), strconv.Itoa(max(p.SMP, 1))
	args := []string{
		"-no-user-config", "-nodefaults", "-display", "none",
		"-machine", p.facts.machine + ",memory-backend=ram",
		"-cpu", p.facts.cpu, "-smp", smp, "-m", memory,
		"-object", p.memoryBackend(memory),
		"-object", fmt.Sprintf("memory-backend-file,id=job,size=%d,mem-path=%s,share=%s", jobSize, escape(p.job), p.share()),
		// master=on: without it the device refuses to be migrated.
		"-device", "ivshmem-plain,memdev=job,master=on",
		"-chardev", "pipe,id=console,path=" + escape(p.con), "-serial", "chardev:console",
		"-chardev", "pipe,id=port,path=" + escape(p.port),
		// Without an ioeventfd the port is served in the instruction that rings
		// its bell. With one it is served when the host gets around to it, and
		// two runs differ by milliseconds.
		//
		// Of the 31 ports that it has unless told otherwise, each takes two queues of
		// 4 KiB that every scan reads; port 0 is another kind's.
		"-device", "virtio-serial-pci,ioeventfd=off,max_ports=2", "-device", "virtserialport,id=port,chardev=port,name=" + portName,
		"-chardev", fmt.Sprintf("socket,id=qmp,fd=%d", p.qmpFD), "-mon", "chardev=qmp,mode=control",
		"-no-reboot", // a panic ends QEMU with SHUTDOWN guest-reset
		"-S",         // the clock starts when the host is ready
		// -sandbox on alone denies next to nothing (measured).
		"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
	}
	args = append(args, p.clockArgs()...)
	args = append(args, p.Backends...)
	for _, d := range p.Devices {
		args = append(args, "-device", d)
	}
	if p.role == roleClone {
		args = append(args, "-incoming", "defer")
	}
	return append(args, p.extra...)
}

// memoryBackend is the guest's RAM.
func (p plan) memoryBackend(size string) string {
	if p.ram == "" {
		return "memory-backend-ram,id=ram,size=" + size
	}
	return fmt.Sprintf("memory-backend-file,id=ram,size=%s,mem-path=%s,share=%s", size, escape(p.ram), p.share())
}

// clockArgs ties guest time to instructions under warp. The seed makes arm64
// repeat as well (rng-seed and kaslr-seed of its device tree).
func (p plan) clockArgs() []string {
	if p.Clock == ClockReal {
		if p.kvm {
			return []string{"-accel", "kvm"}
		}
		return []string{"-accel", "tcg"}
	}
	sleep := "off"
	if p.idle {
		sleep = "on"
	}
	return []string{
		"-accel", "tcg,thread=single",
		"-icount", fmt.Sprintf("shift=%d,sleep=%s", warpShift, sleep),
		"-rtc", "base=2024-01-01,clock=vm", "-seed", "1",
	}
}

// escape doubles commas: QEMU separates options by them.
func escape(path string) string { return strings.ReplaceAll(path, ",", ",,") }
