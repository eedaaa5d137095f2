package kernels

import (
	"debug/elf"
	"path/filepath"
)

// DebugInfo is the kernel's vmlinux in its build tree, if it was built with
// DWARF (CONFIG_DEBUG_INFO_DWARF5=y under kconfig:), and empty if not: the base
// has none, and a pulled kernel has no vmlinux.
func (k *Kernel) DebugInfo() string {
	path := filepath.Join(k.Build, "vmlinux")
	f, err := elf.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	if f.Section(".debug_info") == nil {
		return ""
	}
	return path
}
