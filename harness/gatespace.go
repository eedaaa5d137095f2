package harness

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/google/renameio/v2"

	"github.com/kmemgate/kmemgate/initramfs"
	"github.com/kmemgate/kmemgate/kernels"
	"github.com/kmemgate/kmemgate/reports"
)

// canaryName is the kernel's own module that leaks on purpose.
const canaryName = "kmemleak-test"

// userspaceCache keeps, for the life of a gate, which archives a kernel boots.
type userspaceCache struct {
	mu       sync.Mutex
	archives map[string][]string // by kernel's key
}

// userspace gives the archives of the initramfs: the agent and u-root's shell,
// which every kernel of an architecture shares, and this kernel's modules.
func (g *Gate) userspace(ctx context.Context, k *kernels.Kernel) ([]string, error) {
	g.userspaces.mu.Lock()
	defer g.userspaces.mu.Unlock()
	if list, ok := g.userspaces.archives[k.Key]; ok {
		return list, nil
	}
	list, err := g.makeUserspace(ctx, k)
	if err != nil {
		return nil, err
	}
	if g.userspaces.archives == nil {
		g.userspaces.archives = map[string][]string{}
	}
	g.userspaces.archives[k.Key] = list
	return list, nil
}

// machine is the guest that the cell's scenario asks for.
func (g *Gate) machine(ctx context.Context, c cell) (Machine, error) {
	archives, err := g.userspace(ctx, c.kernel)
	if err != nil {
		return Machine{}, err
	}
	s := c.scenario
	a, err := g.Host.attach(ctx, c.arch, s.Devices)
	if err != nil {
		return Machine{}, err
	}
	m := Machine{
		Kernel:   c.kernel,
		Initrd:   archives,
		Cmdline:  s.Cmdline,
		Memory:   s.Memory,
		Clock:    s.Clock,
		Devices:  a.devices,
		Backends: a.backends,
		Console:  g.console(c.kernel.Release, c.arch, "template"),
	}
	if m.Clock == ClockReal {
		m.SMP = 2 // races are what the real clock is for
	}
	return m, nil
}

// makeUserspace compiles what is not in the cache yet.
func (g *Gate) makeUserspace(ctx context.Context, k *kernels.Kernel) ([]string, error) {
	programs := initramfs.Builder{Cache: g.Host.cache().Entry, Log: statusWriter{g.status}}
	userland, _, err := programs.Userland(ctx, k.Arch)
	if err != nil {
		return nil, err
	}
	agent, _, err := programs.Agent(ctx, k.Arch)
	if err != nil {
		return nil, err
	}
	modules, err := g.kernelModules(ctx, k)
	if err != nil {
		return nil, err
	}
	return []string{userland, agent, modules}, nil
}

// kernelModules is an archive, in the cache, with the modules that every guest of
// this kernel loads.
func (g *Gate) kernelModules(ctx context.Context, k *kernels.Kernel) (string, error) {
	const name = "modules.cpio"
	dir, _, err := g.Host.cache().Entry(ctx, kernels.KindUserland, "modules-"+k.Key, func(ctx context.Context, dir string) error {
		canary, err := g.readCanary(ctx, k)
		if err != nil {
			return err
		}
		noScan, err := os.ReadFile(k.NoScan())
		if err != nil {
			return hostError("run again: what the cache has lost is made again", "kernel %s: %w", k.Release, err)
		}
		var archive bytes.Buffer
		if err := initramfs.KernelModules(&archive, canary, noScan); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, name), archive.Bytes(), 0o644)
	})
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, name), nil
}

// statusWriter turns a package's log lines into a gate's status lines.
type statusWriter struct{ say func(string, ...any) }

func (w statusWriter) Write(p []byte) (int, error) {
	w.say("%s", bytes.TrimSpace(p))
	return len(p), nil
}

// writeReport writes report.json, whole or not at all.
func (g *Gate) writeReport(r reports.Report) error {
	path := filepath.Join(g.Out, "report.json")
	f, err := renameio.NewPendingFile(path, renameio.WithPermissions(0o644))
	if err != nil {
		return hostError("", "report: %w", err)
	}
	defer f.Cleanup() //nolint:errcheck // after CloseAtomicallyReplace there is nothing to clean
	if err := reports.WriteJSON(f, r); err != nil {
		return err
	}
	if err := f.CloseAtomicallyReplace(); err != nil {
		return hostError("", "report: %w", err)
	}
	return nil
}

// readCanary reads this kernel's kmemleak-test, without DWARF.
func (g *Gate) readCanary(ctx context.Context, k *kernels.Kernel) ([]byte, error) {
	list, err := g.Builder.KernelModule(ctx, k, canaryName)
	if err != nil {
		return nil, fmt.Errorf("canary: %w", err)
	}
	content, err := os.ReadFile(list[len(list)-1].Stripped)
	if err != nil {
		return nil, fmt.Errorf("canary: %w", err)
	}
	return content, nil
}
