package kernels

import (
	"bytes"
	"cmp"
	"context"
	"debug/elf"
	"embed"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// noScanModule is a module of ours, made for each kernel, that takes memory which
// can hold no reference to an object out of kmemleak's scans.
const noScanModule = "kmemgate_noscan.ko"

// NoScan is the file of that module.
func (k *Kernel) NoScan() string { return filepath.Join(k.Dir, "stripped", noScanModule) }

//go:embed noscan
var noScanSource embed.FS

// span is a part of the kernel's data.
type span struct {
	what        string
	start, size uint64
}

func (s span) end() uint64 { return s.start + s.size }

// unreferring are variables of the kernel, by their source file (none for what is not
// static), that hold no reference to an object that may leak, though kmemleak scans them
// with all other data: its own notes about the objects of early boot, which would each be
// referenced by its note alone; the kernel's log, which is text and numbers; the numbers
// of NR_CPUS processors; and the pools of backtraces, whole pages that are no objects.
var unreferring = map[string]string{
	"mem_pool":                "kmemleak.c",
	"__log_buf":               "printk.c",
	"_printk_rb_static_descs": "printk.c",
	"_printk_rb_static_infos": "printk.c",
	"cpu_topology":            "",
	"stack_pools":             "stackdepot.c",
	"stack_slabs":             "stackdepot.c", // before 6.3
}

// minGap is the smallest space between two variables that is left out of scans: what
// linkers leave for alignment (1.5 MB before .bss..decrypted on x86_64 up to 6.12).
const minGap = 64 << 10

// scannedData are the first and last symbols of what kmemleak_init registers
// (mm/kmemleak.c).
var scannedData = [][2]string{{"_sdata", "_edata"}, {"__bss_start", "__bss_stop"}}

// moduleSymbols are what the module knows of the kernel beside what is exported to
// it, by the names that it gives them; what a kernel lacks is 0.
var moduleSymbols = map[string]string{
	"KERNEL_END": "_end",
	"SLAB_KSET":  "slab_kset",  // mm/slub.c: its caches' folders in sysfs
	"SLAB_ATTRS": "slab_attrs", // … and the files of one
	"VIRTIO_BUS": "virtio_bus", // drivers/virtio/virtio.c
}

// spansHeader is C: addresses in the kernel's image, and the parts of its data that
// scans need not read.
func spansHeader(vmlinux string) ([]byte, error) {
	file, err := elf.Open(vmlinux)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	symbols, err := file.Symbols()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", vmlinux, err)
	}
	var header bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(moduleSymbols)) {
		symbol := moduleSymbols[name]
		i := slices.IndexFunc(symbols, func(s elf.Symbol) bool { return s.Name == symbol })
		switch {
		case i >= 0:
			fmt.Fprintf(&header, "#define %s %#xUL\n", name, symbols[i].Value)
		case symbol == "_end":
			return nil, fmt.Errorf("%s has no symbol _end", vmlinux)
		default:
			fmt.Fprintf(&header, "#define %s 0UL\n", name)
		}
	}
	header.WriteString("\nstatic const struct span spans[] __initconst = {\n")
	for _, s := range noScanSpans(symbols) {
		fmt.Fprintf(&header, "\t{ %#xUL, %#x }, /* %s */\n", s.start, s.size, s.what)
	}
	header.WriteString("};\n")
	return header.Bytes(), nil
}

// noScanSpans are the parts of a kernel's data that scans need not read.
func noScanSpans(symbols []elf.Symbol) []span {
	borders := map[string]uint64{}
	var variables, found []span
	source := ""
	for _, s := range symbols {
		switch {
		case elf.ST_TYPE(s.Info) == elf.STT_FILE:
			source = s.Name
		case elf.ST_BIND(s.Info) != elf.STB_LOCAL:
			source = ""
			borders[s.Name] = s.Value
		}
		v := span{s.Name, s.Value, s.Size}
		variables = append(variables, v)
		if file, ok := unreferring[s.Name]; ok && s.Size > 0 && file == source {
			found = append(found, v)
		}
	}
	for _, d := range scannedData {
		found = append(found, gaps(variables, borders[d[0]], borders[d[1]])...)
	}
	return slices.DeleteFunc(found, func(v span) bool {
		return !slices.ContainsFunc(scannedData, func(d [2]string) bool { return v.start >= borders[d[0]] && v.end() <= borders[d[1]] })
	})
}

// gaps are the spaces between start and end that are no part of a variable. Behind
// one of unknown size there is none.
func gaps(variables []span, start, end uint64) []span {
	within := slices.DeleteFunc(slices.Clone(variables), func(v span) bool { return v.start < start || v.start > end })
	slices.SortStableFunc(within, func(a, b span) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.size, b.size)) })
	within = append(within, span{start: end})
	var all []span
	known := span{start: start} // ends last so far
	for _, v := range within {
		if v.start >= known.end()+minGap && known.size > 0 {
			all = append(all, span{"behind " + known.what, known.end(), v.start - known.end()})
		}
		if v.end() > known.end() || v.start >= known.end() {
			known = v
		}
	}
	return all
}

// buildNoScan makes the module and puts it beside the kernel's own.
func (k *kernelBuild) buildNoScan(ctx context.Context, log *os.File) error {
	dir := filepath.Join(k.dir, "noscan")
	if err := os.RemoveAll(dir); err != nil {
		return hostErr(err, "module %s", noScanModule)
	}
	header, err := spansHeader(filepath.Join(k.build(), "vmlinux"))
	if err != nil {
		return &Error{Fault: FaultKernel, Err: fmt.Errorf("build %s: %w", k.src.version, err), Log: log.Name()}
	}
	err = os.CopyFS(k.dir, noScanSource)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "spans.h"), header, 0o644)
	}
	if err != nil {
		return hostErr(err, "module %s", noScanModule)
	}
	if err := k.run(ctx, log, nil, "M="+dir, "modules"); err != nil {
		return err
	}
	if err := k.chain.strip(ctx, filepath.Join(dir, noScanModule), filepath.Join(k.dir, "stripped", noScanModule), log); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil {
		return hostErr(err, "module %s", noScanModule)
	}
	return nil
}
