package scenarios

import (
	"regexp"
	"slices"
	"strings"
)

var (
	// deviceName goes into QEMU's -device, unquoted.
	deviceName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.,=-]*$`)
	// hostDevices are those that hand the guest something of the machine it runs
	// on: files (loader, usb-mtp), devices (vfio, vhost), keys.
	hostDevices = regexp.MustCompile(`^(guest-)?loader$|^vfio|^vhost|^virtio-(9p|input-host)|^usb-(host|mtp|redir)|^u2f|^ccid|^scsi-(generic|block)|^xen|^tpm`)
	// hostProperties name files, descriptors and devices of that machine, or what
	// another of QEMU's arguments opens: its control socket is a chardev.
	hostProperties = []string{"chardev", "config", "db", "dir", "drive", "evdev", "fd", "file", "filename", "frudatafile", "host",
		"hostdev", "initrd", "kernel", "netdev", "path", "romfile", "rootdir", "sdrfile", "sysfsdev", "vhostfd"}
)

// reachesHost names what of a -device leads out of the guest; nothing if it is
// harmless. An empty romfile= only says that there is none.
//
// Example: loader of loader,file=secret,addr=0x100000
func reachesHost(device string) string {
	words := strings.Split(device, ",")
	if hostDevices.MatchString(strings.ToLower(words[0])) {
		return words[0]
	}
	for i, word := range words {
		name, value, _ := strings.Cut(word, "=")
		if i == 0 && name == "driver" && hostDevices.MatchString(strings.ToLower(value)) {
			return value
		}
		// "virtio-net-pci,file" is "file=on", and x-… what QEMU may change.
		if slices.Contains(hostProperties, strings.TrimPrefix(strings.ToLower(name), "x-")) && value != "" {
			return name
		}
	}
	return ""
}
