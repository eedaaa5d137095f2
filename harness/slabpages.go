package harness

import (
	"bytes"
	"os"
)

// slabArgs are the kernel arguments that keep the array of struct page from hiding
// orphans. It is scanned like any other memory, and a page that is a later part of a
// larger slab keeps what it said when it was a slab by itself: the address of that
// slab's first object, now another's. ACPI's boot leaves such a page where the
// canary's objects of 4096 bytes go (6.12, x86_64). Slabs of one page each where that
// is enough have no later parts; the base kernel has no ACPI and keeps its templates.
func slabArgs(config string) []string {
	if !configured(config, "CONFIG_ACPI") {
		return nil
	}
	return []string{"slub_max_order=0"}
}

// configured tells whether a kernel's .config has an option built in. There is one, or
// the kernel would not have been built.
func configured(config, option string) bool {
	text, err := os.ReadFile(config)
	return err == nil && bytes.Contains(text, []byte("\n"+option+"=y\n"))
}
