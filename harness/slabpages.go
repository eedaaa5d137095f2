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
	text, err := os.ReadFile(config)
	if err != nil || !bytes.Contains(text, []byte("\nCONFIG_ACPI=y\n")) {
		return nil // without its .config the kernel would not have been built
	}
	return []string{"slub_max_order=0"}
}
