package harness

import (
	"fmt"
)

// SeaBIOS takes memory for the devices that it drives itself (nvme, USB, SD, SCSI):
// a page or more below the 160 KB at the top that QEMU keeps free of the initrd. A
// kernel whose initrd reaches into reserved memory moves it (relocate_initrd,
// arch/x86/kernel/setup.c) into memory that kmemleak gets to know, and frees that
// without telling it (free_initrd_mem): kmemleak scans 9 MB on and on that are
// everyone's by then. Where they come to hold its own records, what these are of
// counts as referenced, and is never reported. (Seen with nvme, usb-kbd and sd-card:
// four planted leaks, of which two, one or none were reported.)
const (
	initrdEnd  = 0x28000 // below the top: acpi_data_size of QEMU's machine pc
	biosBegins = 0x80000 // below the top: more than SeaBIOS takes
	// lowMemory is how much RAM the machine has below 4 GB, where all of it does not
	// fit there (pc_init1 in QEMU's hw/i386/pc_piix.c).
	lowMemory, fitsLow = 0xc0000000, 0xe0000000
)

// initrdStays is the kernel argument that makes reserved memory (e820's type 2)
// around the end of the initrd usable (1). QEMU has overwritten what SeaBIOS had
// there by the time that the kernel starts.
func initrdStays(memory string) []string {
	var size uint64
	var unit string
	if n, err := fmt.Sscanf(memory, "%d%1s", &size, &unit); err != nil || n != 2 {
		return nil
	}
	size <<= map[string]uint{"K": 10, "M": 20, "G": 30}[unit]
	if size >= fitsLow {
		size = lowMemory
	}
	return []string{fmt.Sprintf("memmap=%dK%%%#x-2+1", (biosBegins-initrdEnd)>>10, size-biosBegins)}
}
