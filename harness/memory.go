package harness

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kmemgate/kmemgate/reports"
)

const (
	// readMax bounds one region: a leak's owner is found by its pointers, and
	// those of a huge object tell no more than its first megabyte.
	readMax = 1 << 20
	// readTotal and readCount bound all regions of a run.
	readTotal = 32 << 20
	readCount = 20000
	// readAtOnce is how many reads QEMU is asked for before it has answered the first.
	readAtOnce = 16
	// readTime bounds the whole reading.
	readTime = 20 * time.Second
)

// afterwards does what is done with a guest that has said everything: it is
// stopped, so that its memory stands still. It reports whether it stays.
func (h *Host) afterwards(ctx context.Context, g *guest, a *answer, c *reports.Capture, opt RunOptions) bool {
	if g.qmp.Do(ctx, "stop", nil, nil) != nil {
		return false
	}
	if opt.ReadMemory != nil {
		var said reports.Capture
		a.fill(&said)
		c.Memory = g.readMemory(ctx, opt.ReadMemory(&said))
	}
	if !opt.Keep {
		return false
	}
	if err := g.keep(opt.OutDir); err != nil {
		h.logf("the guest was not kept: %v", err)
		return false
	}
	h.logf("the guest is paused and stays: %s tells how to reach it", filepath.Join(cmp.Or(opt.OutDir, g.dir.path), keptFile))
	return true
}

// readMemory reads kernel memory of the stopped guest. What cannot be read
// is left out: it only tells how orphans belong together.
func (g *guest) readMemory(ctx context.Context, regions []reports.Region) map[uint64][]byte {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	memory, total := map[uint64][]byte{}, 0
	var mu sync.Mutex
	var group errgroup.Group
	group.SetLimit(readAtOnce)
	for i, r := range regions[:min(len(regions), readCount)] {
		size := int(min(r.Size, readMax))
		if size <= 0 || total+size > readTotal {
			continue
		}
		total += size
		group.Go(func() error {
			if b := g.readRegion(ctx, r.Addr, size, g.dir.file(fmt.Sprintf("memory-%d", i))); b != nil {
				mu.Lock()
				defer mu.Unlock()
				memory[r.Addr] = b
			}
			return nil
		})
	}
	_ = group.Wait() // of errors there are none
	return memory
}

// readRegion reads by virtual address, as the CPU would; where that fails it
// tries the kernel's linear map. On arm64 the first fails while the CPU is
// stopped in user mode (measured).
func (g *guest) readRegion(ctx context.Context, addr uint64, size int, file string) []byte {
	defer os.Remove(file)
	// memsave takes its address as a signed integer (qapi/machine.json).
	args := map[string]any{"val": int64(addr), "size": size, "filename": file}
	if g.qmp.Do(ctx, "memsave", args, nil) == nil {
		return readExactly(file, size)
	}
	if linear := g.plan.linearMap(); linear != 0 && addr >= linear && addr-linear < 1<<40 {
		args["val"] = int64(addr - linear + g.plan.facts.ram)
		if g.qmp.Do(ctx, "pmemsave", args, nil) == nil {
			return readExactly(file, size)
		}
	}
	return nil
}

// vaBits says how large arm64's kernel space is.
var vaBits = regexp.MustCompile(`(?m)^CONFIG_ARM64_VA_BITS=([0-9]{2})$`)

// linearMap is where the kernel maps all RAM, without KASLR; 0 if that is not
// known. On arm64 it is the lower end of the kernel's space
// (arch/arm64/include/asm/memory.h, PAGE_OFFSET).
func (p plan) linearMap() uint64 {
	if p.facts.linear != 0 {
		return p.facts.linear
	}
	config, err := os.ReadFile(p.Kernel.Config)
	if err != nil {
		return 0
	}
	m := vaBits.FindSubmatch(config)
	if m == nil {
		return 0
	}
	bits, err := strconv.Atoi(string(m[1]))
	if err != nil {
		return 0
	}
	return -(uint64(1) << bits)
}

func readExactly(file string, size int) []byte {
	b, err := os.ReadFile(filepath.Clean(file))
	if err != nil || len(b) != size {
		return nil
	}
	return b
}
