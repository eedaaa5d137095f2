package harness

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/kernels"
)

// The default line is part of every template's key: a change makes all of them
// anew.
func TestKernelArgs(t *testing.T) {
	f, err := facts("x86_64")
	require.NoError(t, err)
	args := func(cmdline string) string {
		return plan{Machine: Machine{Cmdline: cmdline}, facts: f, role: roleMaker}.kernelArgs()
	}
	const after = "no_hash_pointers nokaslr init_on_alloc=1 slub_debug=F panic=-1 unknown_nmi_panic tsc=reliable"
	require.Equal(t, "console=ttyS0 kmemleak=on "+after, args(""))
	require.Equal(t, "console=ttyS0 kmemleak=on "+after+" nolapic_timer quiet debugfs=off", args(" quiet  debugfs=off"))
	require.Equal(t, "console=ttyS0 "+after+" nolapic_timer kmemleak=off", args("kmemleak=off"))
	require.Equal(t, "console=ttyS0 "+after, args("kmemleak="))
	devices := plan{Machine: Machine{Devices: []string{"edu"}, Cmdline: "quiet"}, facts: f, role: roleMaker}
	require.Equal(t, "console=ttyS0 kmemleak=on "+after+" memmap=352K%0x7f80000-2+1 quiet", devices.kernelArgs())
}

// TestBootsOnce: the local APIC's timer is left out where no clone will be, and not
// where the clock is real or there are more CPUs, which have no other.
func TestBootsOnce(t *testing.T) {
	f, err := facts("x86_64")
	require.NoError(t, err)
	without := func(p plan) bool {
		p.facts = f
		return strings.Contains(p.kernelArgs(), " nolapic_timer")
	}
	require.True(t, without(plan{}))
	require.False(t, without(plan{role: roleMaker}))
	require.False(t, without(plan{role: roleClone}))
	require.False(t, without(plan{Machine: Machine{Clock: ClockReal}}))
	require.False(t, without(plan{Machine: Machine{SMP: 2}}))
	config := filepath.Join(t.TempDir(), ".config")
	require.NoError(t, os.WriteFile(config, []byte("CONFIG_PCI=y\nCONFIG_DEBUG_KMEMLEAK_DEFAULT_OFF=y\n"), 0o600))
	off := func(cmdline string) bool {
		return without(plan{role: roleMaker, Machine: Machine{Kernel: &kernels.Kernel{Config: config}, Cmdline: cmdline}})
	}
	require.False(t, off(""), "kmemleak=on is said")
	require.True(t, off("kmemleak="))
	require.True(t, off("kmemleak=off"))
}

// TestSlabArgs: only a kernel with ACPI gets them.
func TestSlabArgs(t *testing.T) {
	config := filepath.Join(t.TempDir(), ".config")
	for text, want := range map[string][]string{
		"CONFIG_PCI=y\nCONFIG_ACPI=y\nCONFIG_NET=y\n":      {"slub_max_order=0"},
		"CONFIG_PCI=y\n# CONFIG_ACPI is not set\n":         nil,
		"CONFIG_PCI=y\nCONFIG_ARCH_SUPPORTS_ACPI=y\nX=y\n": nil,
	} {
		require.NoError(t, os.WriteFile(config, []byte(text), 0o600))
		require.Equal(t, want, slabArgs(config), text)
	}
	require.Empty(t, slabArgs(config+".none"))
}

// TestInitrdStays: where the top of the RAM below 4 GB is, by the size of all of it.
func TestInitrdStays(t *testing.T) {
	for memory, want := range map[string]string{
		"256M": "memmap=352K%0xff80000-2+1", "3G": "memmap=352K%0xbff80000-2+1",
		"3583M": "memmap=352K%0xdfe80000-2+1", "3584M": "memmap=352K%0xbff80000-2+1", "64G": "memmap=352K%0xbff80000-2+1",
	} {
		require.Equal(t, []string{want}, initrdStays(memory), memory)
	}
	require.Empty(t, initrdStays("much"))
}

// TestGuestsHaveNoWayOut: whatever a guest is started for, QEMU's four denials
// are there, and nothing that reaches the network or the user's files.
func TestGuestsHaveNoWayOut(t *testing.T) {
	for arch, f := range arches {
		for _, clock := range []string{ClockWarp, ClockReal} {
			for _, r := range []role{roleCold, roleMaker, roleClone} {
				p := plan{Machine: Machine{Clock: clock}, facts: f, role: r, job: "/t/job", con: "/t/con", port: "/t/port", qmpFD: 3}
				checkNoWayOut(t, arch, p.args())
			}
		}
	}
}

func checkNoWayOut(t *testing.T, arch string, args []string) {
	t.Helper()
	n := slices.Index(args, "-sandbox")
	require.Positive(t, n, arch)
	on, denials, _ := strings.Cut(args[n+1], ",")
	require.Equal(t, "on", on)
	require.ElementsMatch(t, []string{"obsolete=deny", "elevateprivileges=deny", "spawn=deny", "resourcecontrol=deny"}, strings.Split(denials, ","))
	require.Contains(t, args, "-nodefaults", "QEMU's own default is a network card")
	require.Contains(t, args, "-no-user-config")
	for i, arg := range args {
		// Example of what must not be there: -netdev user,id=n -device e1000,netdev=n
		require.NotRegexp(t, `^-(net|netdev|nic|fsdev|virtfs|drive|blockdev|hda|cdrom|usbdevice|gdb|s|vnc|spice|monitor|tpmdev)$`, arg)
		require.NotRegexp(t, `(^|,|-)(net|netdev|hostfwd|guestfwd|tcp|udp|vhost|9p|vfio)(-|,|=|:|$)`, arg, "%s %s", args[i-min(i, 1)], arg)
	}
}
