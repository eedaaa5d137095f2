package harness

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

// qemuDevice is a device that QEMU has.
type qemuDevice struct{ name, bus string }

// deviceLine is a line of -device help.
//
// Example: name "e1000", bus PCI, alias "e1000-82540em", desc "Intel Gigabit Ethernet"
var deviceLine = regexp.MustCompile(`(?m)^name "([^"]+)"(?:, bus ([^,\n]+))?(?:, alias "([^"]+)")?`)

// parseDevices reads -device help, by name and alias.
func parseDevices(help string) map[string]qemuDevice {
	known := map[string]qemuDevice{}
	for _, m := range deviceLine.FindAllStringSubmatch(help, -1) {
		d := qemuDevice{m[1], m[2]}
		known[d.name] = d
		if m[3] != "" {
			known[m[3]] = d
		}
	}
	return known
}

// knownDevices asks an architecture's QEMU which devices it has, once.
func (h *Host) knownDevices(ctx context.Context, arch string) (map[string]qemuDevice, error) {
	program, err := h.program(arch)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if known := h.devices[program]; known != nil {
		return known, nil
	}
	out, err := exec.CommandContext(ctx, program, "-machine", "none", "-device", "help").Output()
	if err != nil {
		return nil, hostError("", "%s -device help: %w", program, err)
	}
	if h.devices == nil {
		h.devices = map[string]map[string]qemuDevice{}
	}
	h.devices[program] = parseDevices(string(out))
	return h.devices[program], nil
}

// attach works out what the devices of a scenario need. One that this QEMU has
// not, or that its machine has no bus for, is wrong usage.
func (h *Host) attach(ctx context.Context, arch string, devices []string) (attached, error) {
	if len(devices) == 0 {
		return attached{}, nil
	}
	known, err := h.knownDevices(ctx, arch)
	if err != nil {
		return attached{}, err
	}
	for _, d := range devices {
		name, _, _ := strings.Cut(d, ",")
		found, ok := known[name]
		if !ok {
			return attached{}, Usagef("devices: %s has no device %q%s", arches[arch].program, name, nearDevices(known, name))
		}
		if why := missingBuses[arch][found.bus]; why != "" {
			return attached{}, Usagef("devices: %s sits on the bus %s: %s", name, found.bus, why)
		}
	}
	return attach(known, devices), nil
}

// nearDevices are up to three devices whose names are like one that there is
// not.
func nearDevices(known map[string]qemuDevice, name string) string {
	const most = 3
	var near []string
	for have := range known {
		if strings.Contains(have, name) || distance(have, name) <= max(1, len(name)/4) {
			near = append(near, have)
		}
	}
	if len(near) == 0 {
		return ": qemu -device help lists those that it has"
	}
	slices.SortFunc(near, func(a, b string) int {
		if d := distance(a, name) - distance(b, name); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	return fmt.Sprintf(" (did you mean %s?)", strings.Join(near[:min(most, len(near))], " or "))
}

// distance is Levenshtein's: how many letters differ.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
