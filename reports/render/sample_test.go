package render

import (
	"fmt"
	"hash/crc64"
	"strings"

	"github.com/kmemgate/kmemgate/reports"
)

// sample is a report with a bit of everything: leaks of every status, a walk,
// cycles, a run without a verdict, a skipped one, a kernel's own leak.
func sample() reports.Report {
	first, second := leakyRun("6.12.117", "x86_64"), leakyRun("6.12.117", "arm64")
	second.Leaks = second.Leaks[:1]
	second.Cycles, second.Walk = nil, nil
	second.Timings = map[string]float64{"boot": 6.1, "run": 3.9}
	return reports.Report{
		Schema:  reports.Schema,
		Verdict: reports.Leaks,
		Runs: []reports.Run{
			first, second,
			{
				Kernel: "6.1.140", Arch: "x86_64", Scenario: "leaky", Verdict: reports.None,
				Reason: reports.ReasonCanary, Detail: "guest: 23 of the canary's 24 orphans are in the read that decides; the detector missed at least one",
				Clock: "real", ClockNote: "the scenario needs two CPUs", Boot: "cold", BootNote: "edu does not survive a restore",
				Canary: reports.CanaryResult{Expected: 24, Found: 23}, Stats: reports.Stats{Loads: 3, Tracked: 41, Devices: 1},
				Leaks: []reports.Leak{}, Dir: "6.1.140/x86_64/leaky", Reproduce: "kmemgate run --kernel 6.1.140 --arch x86_64 drivers/leaky",
			},
			{
				Kernel: "6.1.140", Arch: "arm64", Scenario: "leaky", Verdict: reports.Skipped,
				Reason: "BUILD_EXCLUSIVE_ARCH", Detail: "dkms.conf wants x86_64", Leaks: []reports.Leak{},
			},
			{
				Kernel: "6.12.117", Arch: "x86_64", Scenario: "quiet", Verdict: reports.Clean, Clock: "warp", Boot: "clone",
				Canary: reports.CanaryResult{Expected: 24, Found: 24}, Stats: reports.Stats{Loads: 1, Tracked: 0, Devices: 0},
				Warnings: []string{"the driver allocated nothing: nothing was tested"},
				Timings:  map[string]float64{"run": 2.25},
				Leaks:    []reports.Leak{}, Dir: "6.12.117/x86_64/quiet", Reproduce: "kmemgate run --kernel 6.12.117 --arch x86_64 drivers/quiet",
			},
		},
		Warnings: []string{"kmemgate.yml:14: the suppression \"memory leak in old_*\" matched nothing"},
	}
}

func leakyRun(kernel, arch string) reports.Run {
	return reports.Run{
		Kernel: kernel, Arch: arch, Scenario: "leaky", Verdict: reports.Leaks, Clock: "warp", Boot: "clone",
		Canary:  reports.CanaryResult{Expected: 24, Found: 24},
		Timings: map[string]float64{"build": 4.5, "run": 3.25, "judge": 0.05},
		Stats:   reports.Stats{Loads: 3, Tracked: 42, Devices: 1},
		Audit:   []reports.AuditEntry{{Module: "leaky", Import: "kmemleak_not_leak", Function: "leaky_hide"}},
		Leaks: []reports.Leak{
			probeLeak(), ringLeak(), percpuLeak(),
			otherLeak(reports.Known, "memory leak in leaky_open", "in the baseline", 1, 96),
			otherLeak(reports.Suppressed, "memory leak in leaky_ioctl", "fixed in 6.14", 2, 512),
			otherLeak(reports.Transient, "memory leak in leaky_poll", "", 1, 4096),
			kernelLeak(),
		},
		Cycles: []reports.CycleResult{{N: 1, Orphans: 2, Bytes: 2112}, {N: 2, Orphans: 3, Bytes: 2176}, {N: 3, Orphans: 5, Bytes: 4288}},
		Walk: &reports.WalkResult{Allocations: 43, Failed: 41, Bounded: true, Findings: []reports.Finding{
			{N: 7, Kind: "oops", Function: "leaky_setup_ring", Module: "leaky", File: "leaky.c", Line: 64,
				Path: []reports.SourceLine{
					{Line: 64, Text: "\tring->buf = kmalloc(len, GFP_KERNEL);"}, {Line: 65, Text: "\tif (!ring->buf)"}, {Line: 66, Text: "\t\tgoto free_desc;"},
					{Line: 71, Text: "free_desc:"}, {Line: 72, Text: "\tkfree(ring->desc->next);"},
				},
				Alone: fmt.Sprintf("kmemgate run --kernel %s --arch %s drivers/leaky --error-paths=7", kernel, arch),
				Stack: []reports.Frame{{Function: "leaky_setup_ring", Offset: 0x5c, Module: "leaky", File: "leaky.c", Line: 64}},
				Text:  "BUG: kernel NULL pointer dereference, address: 0000000000000008\n#PF: supervisor write access in kernel mode\n"},
			{N: 12, Kind: "leak", Signature: "25e897f37029", Outcome: "ENOMEM", Function: "leaky_setup_ring", Module: "leaky", File: "leaky.c", Line: 61,
				Path: []reports.SourceLine{{Line: 61, Text: "\tring->buf = kmalloc(len, GFP_KERNEL);"}, {Line: 62, Text: "\tif (!ring->buf)"}, {Line: 63, Text: "\t\treturn -ENOMEM;"}}},
			{N: 13, Kind: "leak", Signature: "25e897f37029"},
			{N: 31, Kind: "hang", Text: "watchdog: no answer for 60 s of guest time"},
			{N: 33, Kind: "warn", Outcome: "loaded all the same", Function: "leaky_remove", Module: "leaky", File: "leaky.c", Line: 120, Stack: []reports.Frame{{Function: "sysfs_remove_group"}, {Function: "leaky_remove", Offset: 0x22, Module: "leaky", File: "leaky.c", Line: 120}},
				Text: "WARNING: CPU: 0 PID: 71 at fs/sysfs/group.c:281"},
		}},
		Dir:       fmt.Sprintf("%s/%s/leaky", kernel, arch),
		Reproduce: fmt.Sprintf("kmemgate run --kernel %s --arch %s drivers/leaky", kernel, arch),
	}
}

// probeLeak is three objects of one line, reached through a driver's probe.
func probeLeak() reports.Leak {
	return reports.Leak{
		Signature: "efadf7103e60", Title: "memory leak in leak_in_probe",
		Status: reports.New, Kind: "object", Function: "leak_in_probe", Module: "leaky", File: "leaky.c", Line: 42,
		Size: 64, Count: 3, Bytes: 192, PerCycle: 1, Children: 2,
		Frames: []reports.Frame{
			{Function: "__kmalloc_cache_noprof", Offset: 0x1b3},
			{Function: "leak_in_probe", Module: "leaky", File: "leaky.c", Line: 42, Inlined: true},
			{Function: "leaky_probe", Offset: 0x2e, Module: "leaky", File: "leaky.c", Line: 77},
			{Function: "platform_probe", Offset: 0x3f}, {Function: "really_probe", Offset: 0xd8},
			{Function: "__driver_probe_device", Offset: 0x73}, {Function: "driver_probe_device", Offset: 0x1e},
			{Function: "__driver_attach", Offset: 0x8d}, {Function: "bus_for_each_dev", Offset: 0x7b},
			{Function: "bus_add_driver", Offset: 0xf1}, {Function: "driver_register", Offset: 0x59},
			{Function: "leaky_init", Offset: 0x1e, Module: "leaky", File: "leaky.c", Line: 101},
			{Function: "do_one_initcall", Offset: 0x57}, {Function: "do_init_module", Offset: 0x60},
			{Function: "init_module_from_file", Offset: 0x86},
		},
		Records: []string{probeRecord, probeRecord, probeRecord},
		Source: []reports.SourceLine{
			{Line: 40, Text: "\tstruct foo *f;"}, {Line: 41, Text: ""},
			{Line: 42, Text: "\tf = kzalloc(sizeof(*f), GFP_KERNEL);"},
			{Line: 43, Text: "\tif (!f)"}, {Line: 44, Text: "\t\treturn -ENOMEM;"},
		},
	}
}

const probeRecord = `unreferenced object 0xffff888003d5a1c0 (size 64):
  comm "work", pid 71, jiffies 4294895123
  hex dump (first 32 bytes):
    6b 6d 65 6d 67 61 74 65 00 00 00 00 00 00 00 00  kmemgate........
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00  ................
  backtrace (crc 8f1d2c3b):
    __kmalloc_cache_noprof+0x1b3/0x320
    0xffffffffa000502e
    platform_probe+0x3f/0x90
    really_probe+0xd8/0x2b0
    __driver_probe_device+0x73/0x110
    driver_probe_device+0x1e/0xe0
    __driver_attach+0x8d/0x140
    bus_for_each_dev+0x7b/0xc0
    bus_add_driver+0xf1/0x200
    driver_register+0x59/0x100
    0xffffffffa000d01e
    do_one_initcall+0x57/0x220
    do_init_module+0x60/0x220
    init_module_from_file+0x86/0xc0
`

// ringLeak has two sites of different sizes and comes of a walk.
func ringLeak() reports.Leak {
	return reports.Leak{
		Signature: "25e897f37029", Title: "memory leak in leaky_setup_ring",
		Status: reports.New, Kind: "object", Function: "leaky_setup_ring", Module: "leaky", File: "leaky.c", Line: 58,
		Size: 1024, Count: 3, Bytes: 4096, Walk: []int{12, 13},
		Sites: []reports.Site{
			{Function: "leaky_setup_ring", Text: "ring->desc = kcalloc(n, sizeof(*d), GFP_KERNEL);", File: "leaky.c", Line: 58, Size: 1024, Count: 2},
			{Function: "leaky_setup_ring", Text: "ring->buf = kmalloc(len, GFP_KERNEL);", File: "leaky.c", Line: 61, Size: 2048, Count: 1},
		},
		Frames: []reports.Frame{
			{Function: "__kmalloc_noprof", Offset: 0x1e5},
			{Function: "leaky_setup_ring", Offset: 0x41, Module: "leaky", File: "leaky.c", Line: 58},
			{Function: "leaky_init", Offset: 0x31, Module: "leaky", File: "leaky.c", Line: 104},
			{Function: "do_one_initcall", Offset: 0x57},
		},
		Records: []string{"unreferenced object 0xffff888003e01000 (size 1024):\n  comm \"work\", pid 83, jiffies 4294895777\n  backtrace (crc 0):\n    __kmalloc_noprof+0x1e5/0x400\n    0xffffffffa0005041\n    0xffffffffa000d031\n    do_one_initcall+0x57/0x220\n"},
	}
}

// percpuLeak has no frame in a module and no source.
func percpuLeak() reports.Leak {
	return reports.Leak{
		Signature: "95579bf690b7", Title: "memory leak in pcpu_user",
		Status: reports.New, Kind: "percpu", Function: "pcpu_user", Size: 8, Count: 1, Bytes: 8,
		Frames: []reports.Frame{
			{Function: "pcpu_alloc_noprof", Offset: 0x511}, {Function: "pcpu_user", Offset: 0x12}, {Function: "kernel_thing", Offset: 0x9},
		},
		Records: []string{"unreferenced object (percpu) 0x607b97e9cab8 (size 8):\n  comm \"work\", pid 71, jiffies 4294895130\n  backtrace (crc 0):\n    pcpu_alloc_noprof+0x511/0x900\n    pcpu_user+0x12/0x40\n    kernel_thing+0x9/0x20\n"},
	}
}

func otherLeak(status reports.Status, title, note string, count int, size int64) reports.Leak {
	function := strings.TrimPrefix(title, "memory leak in ")
	return reports.Leak{
		Signature: sig("%s", function), Title: title, Status: status, Note: note, Kind: "object", Function: function,
		Module: "leaky", File: "leaky.c", Line: 200, Size: size, Count: count, Bytes: size * int64(count),
		Frames:  []reports.Frame{{Function: "__kmalloc_noprof", Offset: 0x1e5}, {Function: function, Offset: 0x10, Module: "leaky", File: "leaky.c", Line: 200}},
		Records: []string{},
	}
}

func kernelLeak() reports.Leak {
	l := otherLeak(reports.Noise, "memory leak in acpi_init", "", 1, 128)
	l.Signature, l.Module, l.File, l.Line = "76b1d4f5ca0b", "", "", 0
	l.Frames = []reports.Frame{{Function: "__kmalloc_noprof", Offset: 0x1e5}, {Function: "acpi_init", Offset: 0x77}}
	return l
}

// sig stands in for the hash that a signature is.
func sig(format string, args ...any) string {
	return fmt.Sprintf("%012x", crc64.Checksum(fmt.Appendf(nil, format, args...), crc64.MakeTable(crc64.ISO))>>16)
}

// crowd is one run of many leaks, for sizes and speed.
func crowd(n int) reports.Report {
	r := reports.Report{Schema: reports.Schema, Verdict: reports.Leaks}
	run := leakyRun("6.12.117", "x86_64")
	run.Leaks = nil
	for i := range n {
		l := probeLeak()
		l.Function = fmt.Sprintf("leak_%d", i)
		l.Title, l.Signature, l.Line, l.Bytes = "memory leak in "+l.Function, sig("leak_%d", i), i+1, int64(n-i)*64
		l.Frames[1].Function = l.Function
		run.Leaks = append(run.Leaks, l)
	}
	r.Runs = []reports.Run{run}
	return r
}
