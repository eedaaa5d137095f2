package harness

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
)

// devices is what tells a machine from one whose devices did not survive.
type devices struct {
	pci    []pciDevice
	memory string // what lies where in the address spaces, as sorted lines
}

// pciDevice is the part of query-pci that a restore must keep: the regions
// are those that are mapped.
type pciDevice struct {
	Bus      int             `json:"bus"`
	Slot     int             `json:"slot"`
	Function int             `json:"function"`
	QdevID   string          `json:"qdev_id"`
	ID       json.RawMessage `json:"id"`
	Class    struct {
		Desc string `json:"desc"`
	} `json:"class_info"`
	Regions json.RawMessage `json:"regions"`
}

// devices asks QEMU.
func (g *guest) devices(ctx context.Context) (devices, error) {
	var buses []struct {
		Devices []pciDevice `json:"devices"`
	}
	if err := g.qmp.Do(ctx, "query-pci", nil, &buses); err != nil {
		return devices{}, err
	}
	var d devices
	for _, b := range buses {
		d.pci = append(d.pci, b.Devices...)
	}
	text, err := g.qmp.human(ctx, "info mtree -f")
	d.memory = sortedLines(text)
	return d, err
}

// sortedLines takes the order out of the flat views: they come in that of a
// hash table, with numbers of their own.
// Example: "FlatView #3", then "  00000000febd1000-00000000febd10ff (prio 1, i/o): ivshmem-mmio"
func sortedLines(text string) string {
	lines := slices.DeleteFunc(strings.Split(text, "\n"), func(l string) bool { return strings.HasPrefix(l, "FlatView #") })
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// differ tells what a restore has changed; nothing if all survived.
func (d devices) differ(after devices) string {
	if len(d.pci) != len(after.pci) {
		return fmt.Sprintf("%d PCI devices became %d in a restore", len(d.pci), len(after.pci))
	}
	for i, dev := range d.pci {
		if !reflect.DeepEqual(dev, after.pci[i]) {
			return fmt.Sprintf("PCI device %02x.%x (%s) does not survive a restore", dev.Slot, dev.Function, dev.Class.Desc)
		}
	}
	if d.memory != after.memory {
		return "the machine's memory map does not survive a restore"
	}
	return ""
}

// unsaved names the first of the extra devices that QEMU has not saved: it
// leaves out a device without a description of its state, in silence.
func unsaved(state string, d devices, wanted []string) string {
	if len(wanted) == 0 {
		return ""
	}
	saved, err := savedDevices(state)
	if err != nil {
		return err.Error()
	}
	for _, dev := range d.pci {
		// Example: "0000:00:04.0/edu"; bridges stand for themselves.
		if place := fmt.Sprintf(":%02x:%02x.%x/", dev.Bus, dev.Slot, dev.Function); !strings.Contains(saved, place) && !dev.bridge() {
			return fmt.Sprintf("PCI device %02x.%x (one of %s) has no state that QEMU could save", dev.Slot, dev.Function, strings.Join(wanted, ", "))
		}
	}
	return ""
}

func (d pciDevice) bridge() bool { return strings.Contains(strings.ToLower(d.Class.Desc), "bridge") }

// savedDevices reads the description at the end of a migration stream:
// a byte 6, a length (four bytes, big endian), JSON (migration/savevm.c,
// QEMU_VM_VMDESCRIPTION). It returns the devices' names, a line each.
func savedDevices(state string) (string, error) {
	b, err := os.ReadFile(state)
	if err != nil {
		return "", fmt.Errorf("read the state: %w", err)
	}
	start := bytes.LastIndex(b, []byte(`{"configuration":`))
	if i := bytes.LastIndex(b, []byte(`{"page_size":`)); start < 0 {
		start = i
	}
	if start < 5 || b[start-5] != 6 {
		return "", fmt.Errorf("the state does not describe itself")
	}
	length := int(binary.BigEndian.Uint32(b[start-4:]))
	if start+length > len(b) {
		return "", fmt.Errorf("the state's description is cut short")
	}
	var desc struct {
		Devices []struct {
			Name string `json:"name"`
		} `json:"devices"`
	}
	if err := json.Unmarshal(b[start:start+length], &desc); err != nil {
		return "", fmt.Errorf("the state's description: %w", err)
	}
	var names strings.Builder
	for _, d := range desc.Devices {
		names.WriteString(d.Name + "\n")
	}
	return names.String(), nil
}
