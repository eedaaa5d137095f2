package kernels

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Some drivers look by themselves for the options that they need, and stop
// without them. What they say is for a person; what they looked at is in their files.

// makefileStop is how make ends by an $(error).
//
// Example: Makefile:4: *** ** You need to enable NF_CONNTRACK in your kernel **.  Stop.
var makefileStop = regexp.MustCompile(`^(\S*(?:Makefile|Kbuild)\S*):(\d+): \*\*\* (.*)$`)

// askedFor are the options without which a Makefile of the driver stopped: those
// that the conditionals around the line find off, and those that it names.
func (r *driverRun) askedFor(dir string) (names []string) {
	for _, text := range r.said.Messages {
		m := makefileStop.FindStringSubmatch(text)
		if m == nil {
			continue
		}
		file := m[1]
		if !filepath.IsAbs(file) {
			file = filepath.Join(dir, file)
		}
		n, err := strconv.Atoi(m[2])
		if err == nil {
			names = append(names, foundOff(file, n)...)
		}
		names = append(names, configNames(m[3])...)
	}
	return compacted(names)
}

// foundOff are the options that are off where a line of a Makefile is reached.
//
// Example: ifndef CONFIG_NF_CONNTRACK
func foundOff(file string, line int) (names []string) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil // the kernel's own
	}
	var conds conditions
	for i, l := range strings.Split(string(text), "\n") {
		if i+1 == line {
			break
		}
		conds.line(strings.TrimSpace(l))
	}
	for _, c := range conds {
		if c.option != "" && c.negated {
			names = append(names, c.option)
		}
	}
	return names
}

// lookedUp names the options that a dkms.conf looks for in the kernel's .config
// by itself: it tells by an architecture that does not exist that it found them off.
//
// Example: grep -q "^CONFIG_I2C=[ym]$" "$kernel_source_dir/.config" || BUILD_EXCLUSIVE_ARCH="^do_not_build$"
func lookedUp(err error, file, config string) error {
	var skip *Skip
	if !errors.As(err, &skip) || len(skip.Options) > 0 {
		return err
	}
	text, readErr := os.ReadFile(file)
	if readErr != nil || !strings.Contains(string(text), "/.config") {
		return err
	}
	lines := strings.Split(config, "\n")
	options := slices.DeleteFunc(compacted(configNames(string(text))), func(name string) bool {
		return slices.Contains(lines, "CONFIG_"+name+"=y") || slices.Contains(lines, "CONFIG_"+name+"=m")
	})
	return &Skip{Reason: skip.Reason, Options: options}
}
