// Package harness boots guests in QEMU, saves them as templates, starts clones
// of those, and gathers what a guest says into a reports.Capture. It knows
// machines, not leaks: what a capture means is for package reports.
package harness

import (
	"cmp"
	"context"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/kmemgate/kmemgate/kernels"
	"github.com/kmemgate/kmemgate/reports"
)

// The clocks of Machine.Clock.
const (
	// ClockWarp ties guest time to executed instructions and skips idle
	// time: waits are free and runs repeat to the byte. One CPU, no KVM.
	ClockWarp = "warp"
	// ClockReal is for SMP, KVM, races and heavy work.
	ClockReal = "real"
)

// Cache keeps templates; *kernels.Cache is one.
type Cache interface {
	Entry(ctx context.Context, kind, key string, make func(ctx context.Context, dir string) error) (path string, release func(), err error)
}

// Host is the machine that guests run on. The zero value works.
type Host struct {
	// QEMU is the program for each architecture; one that is missing is
	// looked up in PATH.
	QEMU map[string]string
	// Cache keeps templates; nil is the user's cache.
	Cache Cache
	// Temp is where private folders are made; empty is the system's.
	Temp string
	// Log takes a line where a user waits; nil drops them.
	Log func(format string, args ...any)
	// Jobs is how many guests live side by side, whoever starts them; 0 means one
	// a core.
	Jobs int

	consoleMax int    // for tests; 0 means defaultConsole
	kvmDevice  string // for tests; empty means /dev/kvm

	mu        sync.Mutex
	own       *kernels.Cache    // the user's, where Cache is nil
	places    chan struct{}     // as many as guests may live; one that lives is in it
	versions  map[string]string // of QEMU, by path
	hashes    map[string]string // of an initramfs, by its files' names, sizes and times
	templates map[string]*templateSlot
	devices   map[string]map[string]qemuDevice // by the path of QEMU and the device's name
	kvm       map[string]error                 // why it does not work, by the path of QEMU
}

// Machine is a guest before it is started.
type Machine struct {
	Kernel *kernels.Kernel
	// Initrd are newc archives, plain or compressed. The kernel unpacks
	// them one after the other, later files replace earlier ones.
	Initrd []string
	// Cmdline is added to the kernel's arguments.
	Cmdline string
	// Memory is QEMU's -m; empty means 128M.
	Memory string
	// Clock is ClockWarp or ClockReal; empty means warp where it can be had.
	Clock string
	// SMP is how many CPUs; 0 means one. More than one need ClockReal.
	SMP int
	// Devices are QEMU's -device arguments, e.g. "edu".
	Devices []string
	// Backends are more of QEMU's arguments: what the devices lean on.
	Backends []string
	// Console gets the guest's console while a template is made.
	Console io.Writer
}

// RunOptions are what a run may do besides the job. The zero value works.
type RunOptions struct {
	// Timeout is how much guest time may pass without a word from the
	// guest; 0 means 60 s. The agent's own waits come on top.
	Timeout time.Duration
	// Wall bounds the whole run in the host's time; 0 means 30 min.
	Wall time.Duration
	// OutDir receives the evidence that this package alone has (qemu.cmd,
	// console.log); empty means none is written.
	OutDir string
	// Keep leaves the guest paused after its answer, in a QEMU that
	// outlives this process, with sockets for a monitor and a debugger.
	// KEPT in OutDir tells how to reach and how to end it.
	Keep bool
	// Terminal is where a person types to the guest's console (Console
	// shows it). The guest then idles at no cost, and nothing times out.
	Terminal io.Reader
	// Debugger, where set, leaves the guest's clock stopped until a debugger
	// lets it run; it is called with the line that attaches one.
	Debugger func(line string)

	waits time.Duration // for tests; 0 means agentWaits
	// ReadMemory is asked, once the guest has said everything, which memory
	// to read into Capture.Memory. It gets what the guest said.
	ReadMemory func(*reports.Capture) []reports.Region
	// Console gets the guest's console as it comes.
	Console io.Writer
}

func (h *Host) logf(format string, args ...any) {
	if h.Log != nil {
		h.Log(format, args...)
	}
}

func (h *Host) cache() Cache {
	if h.Cache != nil {
		return h.Cache
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.own == nil { // one for all: it looks at every entry's age when it is new
		h.own = &kernels.Cache{}
	}
	return h.own
}

// jobs is how many guests may live side by side.
func (h *Host) jobs() int {
	if h.Jobs > 0 {
		return h.Jobs
	}
	return runtime.NumCPU()
}

// place waits until another guest may live. Who has a place must not wait for a
// second one, nor for a template: it may be the one that this takes.
func (h *Host) place(ctx context.Context) (leave func(), err error) {
	h.mu.Lock()
	if h.places == nil {
		h.places = make(chan struct{}, h.jobs())
	}
	places := h.places
	h.mu.Unlock()
	select {
	case places <- struct{}{}:
		return sync.OnceFunc(func() { <-places }), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// program finds QEMU for an architecture.
func (h *Host) program(arch string) (string, error) {
	f, err := facts(arch)
	if err != nil {
		return "", err
	}
	name := f.program
	if h.QEMU[arch] != "" {
		name = h.QEMU[arch]
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", hostError(kernels.CureOf(f.program), "%s: not found in PATH", name)
	}
	return path, nil
}

// clock decides how the guest's time passes, and says why if it is not what
// was asked for.
func (m Machine) clock() (clock, note string) {
	switch {
	case m.Clock == ClockReal:
		return ClockReal, ""
	case m.SMP > 1:
		// x86 with -smp 2 and sleep=off hangs while it starts the second CPU (measured).
		return ClockReal, "more than one CPU: guest time cannot be warped"
	}
	return ClockWarp, ""
}

// plan makes a plan for a machine; files are filled in by its user. The note says
// what the guest has to do without, and why.
func (h *Host) plan(ctx context.Context, m Machine, r role) (plan, string, error) {
	f, err := facts(m.Kernel.Arch)
	if err != nil {
		return plan{}, "", err
	}
	path, err := h.program(m.Kernel.Arch)
	if err != nil {
		return plan{}, "", err
	}
	clock, note := m.clock()
	m.Clock = clock
	p := plan{Machine: m, facts: f, role: r, qemu: path, consoleMax: cmp.Or(h.consoleMax, defaultConsole)}
	if clock == ClockReal {
		lack := h.KVM(ctx, m.Kernel.Arch)
		if ctx.Err() != nil {
			return plan{}, "", ctx.Err()
		}
		if p.kvm = lack == nil; !p.kvm {
			note = strings.TrimPrefix(note+"; emulated, without KVM: "+oneLine(lack.Error()), "; ")
		}
	}
	return p, note, nil
}
