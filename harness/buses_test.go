package harness

import (
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/kconfig"
)

const deviceHelp = `Network devices:
name "e1000", bus PCI, alias "e1000-82540em", desc "Intel Gigabit Ethernet"
name "qemu-xhci", bus PCI
name "usb-kbd", bus usb-bus
name "usb-storage", bus usb-bus
name "nvme", bus PCI, desc "Non-Volatile Memory Express"
name "virtio-blk-pci", bus PCI, alias "virtio-blk"
name "tmp105", bus i2c-bus
name "edu", bus PCI
name "or-irq"
`

func TestAttach(t *testing.T) {
	known := parseDevices(deviceHelp)
	require.Equal(t, qemuDevice{name: "or-irq"}, known["or-irq"])
	usb := buses["usb-bus"].options
	null := func(node string) []string {
		return []string{"-blockdev", "driver=null-co,node-name=" + node + ",size=16777216,read-zeroes=on"}
	}
	for name, c := range map[string]struct {
		devices []string
		want    attached
	}{
		"on PCI":          {[]string{"edu"}, attached{devices: []string{"edu"}}},
		"a card":          {[]string{"e1000-82540em,mac=52:54:00:12:34:56"}, attached{devices: []string{"e1000-82540em,mac=52:54:00:12:34:56,romfile="}}},
		"USB":             {[]string{"usb-kbd", "usb-kbd"}, attached{devices: []string{"qemu-xhci", "usb-kbd", "usb-kbd"}, options: usb}},
		"own controller":  {[]string{"qemu-xhci,p2=8", "usb-kbd"}, attached{devices: []string{"qemu-xhci,p2=8", "usb-kbd"}, options: usb}},
		"controller only": {[]string{"qemu-xhci"}, attached{devices: []string{"qemu-xhci"}}},
		"a disk":          {[]string{"nvme"}, attached{devices: []string{"nvme,drive=diska,serial=kmemgate"}, backends: null("diska")}},
		"two disks": {[]string{"virtio-blk", "usb-storage"}, attached{
			devices:  []string{"qemu-xhci", "virtio-blk,drive=diska", "usb-storage,drive=diskb"},
			backends: append(null("diska"), null("diskb")...), options: usb,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			got := attach(known, c.devices)
			require.Equal(t, c.want.devices, got.devices)
			require.Equal(t, c.want.backends, got.backends)
			require.ElementsMatch(t, c.want.options, got.options)
		})
	}
}

// What QEMU has not is wrong usage, and the message has what may have been meant.
func TestAttachRefuses(t *testing.T) {
	h := &Host{QEMU: map[string]string{"x86_64": "true", "arm64": "true"}}
	program, err := exec.LookPath("true")
	require.NoError(t, err)
	h.devices = map[string]map[string]qemuDevice{program: parseDevices(deviceHelp)}
	for _, c := range []struct{ arch, device, said string }{
		{"x86_64", "e100", `devices: qemu-system-x86_64 has no device "e100" (did you mean e1000 or`},
		{"x86_64", "nvm,serial=x", `has no device "nvm" (did you mean nvme?)`},
		{"arm64", "zebra", `devices: qemu-system-aarch64 has no device "zebra": qemu -device help lists`},
		{"arm64", "tmp105,address=0x48", "devices: tmp105 sits on the bus i2c-bus: the machine virt has no I2C controller: run this driver on x86_64"},
	} {
		_, err := h.attach(t.Context(), c.arch, []string{"edu", c.device})
		require.ErrorContains(t, err, c.said)
		require.ErrorAs(t, err, new(UsageError))
	}
}

// What a user says of an option wins over what a device wants of it.
func TestDeviceOptionsYield(t *testing.T) {
	own := []kconfig.Fragment{{Name: "kmemgate.yml", Options: []kconfig.Option{{Name: "CONFIG_USB", Value: "m"}}}}
	config, err := withOptions(own, []string{"CONFIG_USB=y", "CONFIG_USB_PCI=y"})
	require.NoError(t, err)
	require.Len(t, config, 2)
	require.Equal(t, "CONFIG_USB_PCI=y", config[1].Options[0].String())
	require.Len(t, config[1].Options, 1)
	config, err = withOptions(own, []string{"CONFIG_USB=y"})
	require.NoError(t, err)
	require.Equal(t, own, config, "nothing more: the same kernel")
}
