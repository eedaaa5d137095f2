package harness

import (
	"slices"
	"strings"
)

// busFacts is what a device of QEMU needs beside itself.
type busFacts struct {
	controllers []string // devices of which one, found among the user's, has the bus
	controller  string   // -device that brings it where none of those is; empty: the machine has it
	options     []string // of the kernel, so that a driver gets to see the device
}

// buses by their names in QEMU's -device help, for the machines of both
// architectures. A bus that is not here is left to QEMU and to kconfig:. What the
// options of the kernel stand for is the bus alone: the driver of the device is
// under test.
var buses = map[string]busFacts{
	"usb-bus": {
		controllers: []string{"qemu-xhci", "nec-usb-xhci"}, controller: "qemu-xhci",
		options: []string{"CONFIG_USB_SUPPORT=y", "CONFIG_USB=y", "CONFIG_USB_PCI=y", "CONFIG_USB_XHCI_HCD=y", "CONFIG_USB_XHCI_PCI=y"},
	},
	"sd-bus": {
		controllers: []string{"sdhci-pci"}, controller: "sdhci-pci",
		// MMC_BLOCK is on by default, and would take the card before its driver is loaded.
		options: []string{"CONFIG_MMC=y", "CONFIG_MMC_BLOCK=n", "CONFIG_MMC_SDHCI=y", "CONFIG_MMC_SDHCI_PCI=y"},
	},
	"SCSI": {
		controllers: []string{"virtio-scsi-pci"}, controller: "virtio-scsi-pci",
		options: []string{"CONFIG_SCSI=y", "CONFIG_SCSI_LOWLEVEL=y", "CONFIG_SCSI_VIRTIO=y"},
	},
	"nvme-bus": {
		controllers: []string{"nvme"}, controller: "nvme,serial=kmemgate",
		options: []string{"CONFIG_BLK_DEV_NVME=y"},
	},
	"i2c-bus": {options: []string{"CONFIG_I2C=y", "CONFIG_I2C_PIIX4=y"}}, // of the PIIX4 of machine pc
}

// missingBuses are those that a machine of an architecture has not, with what a
// user may do.
var missingBuses = map[string]map[string]string{
	"arm64": {
		"i2c-bus": "the machine virt has no I2C controller: run this driver on x86_64",
		"ISA":     "the machine virt has no ISA bus: run this driver on x86_64",
		"IDE":     "the machine virt has no IDE controller: run this driver on x86_64",
	},
	"x86_64": {"virtio-bus": "the machine pc has no virtio-mmio: take the device's -pci twin"},
}

// disks are devices that do not start without a medium behind them.
var disks = []string{"nvme", "nvme-ns", "virtio-blk-pci", "scsi-hd", "ide-hd", "usb-storage", "sd-card"}

// cards have a boot ROM that is of no use here and may not be installed.
var cards = []string{"e1000", "e1000e", "igb", "rtl8139", "virtio-net-pci", "ne2k_pci", "pcnet"}

// attached is what a scenario's devices come to.
type attached struct {
	devices  []string // -device, controllers first
	backends []string // more arguments of QEMU
	options  []string // of the kernel
}

// attach works out controllers, media and options for the devices, by the list
// of what QEMU has.
func attach(known map[string]qemuDevice, devices []string) attached {
	var a attached
	names := make([]string, len(devices))
	for i, d := range devices {
		name, _, _ := strings.Cut(d, ",")
		names[i] = known[name].name // not its alias
	}
	for _, name := range names {
		bus := buses[known[name].bus]
		a.options = append(a.options, bus.options...)
		has := func(c string) bool { return slices.Contains(names, c) }
		if bus.controller != "" && !slices.ContainsFunc(bus.controllers, has) && !slices.Contains(a.devices, bus.controller) {
			a.devices = append(a.devices, bus.controller)
		}
	}
	slices.Sort(a.options)
	a.options = slices.Compact(a.options)
	for i, d := range devices {
		a.add(names[i], d)
	}
	return a
}

// add adds one device with what it does not start without.
func (a *attached) add(name, device string) {
	with := func(key, value string) {
		if !strings.Contains(device, ","+key+"=") {
			device += "," + key + "=" + value
		}
	}
	if slices.Contains(disks, name) && !strings.Contains(device, ",drive=") {
		node := "disk" + string(rune('a'+len(a.backends)/2))
		a.backends = append(a.backends, "-blockdev", "driver=null-co,node-name="+node+",size=16777216,read-zeroes=on")
		with("drive", node)
	}
	if name == "nvme" {
		with("serial", "kmemgate")
	}
	if slices.Contains(cards, name) {
		with("romfile", "")
	}
	a.devices = append(a.devices, device)
}
