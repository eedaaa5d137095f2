package kernels

import (
	"bytes"
	"debug/elf"
	"fmt"
	"path/filepath"
	"strings"
)

// modInfo is what a module says of itself in its .modinfo section.
type modInfo struct {
	name     string
	depends  []string
	vermagic string
	machine  string
}

// readModInfo reads a module. The file may come from anywhere: debug/elf
// checks its bounds.
func readModInfo(file string) (*modInfo, error) {
	f, err := elf.Open(file)
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", file, err)
	}
	defer f.Close()
	section := f.Section(".modinfo")
	if section == nil || f.Type != elf.ET_REL {
		return nil, fmt.Errorf("module %s: no kernel module: no .modinfo section", file)
	}
	if section.Size > 1<<20 {
		return nil, fmt.Errorf("module %s: a .modinfo section of %d bytes", file, section.Size)
	}
	text, err := section.Data()
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", file, err)
	}
	info := parseModInfo(text)
	info.machine = f.Machine.String()
	if info.name == "" {
		info.name = strings.TrimSuffix(filepath.Base(file), ".ko")
	}
	info.name = ModuleName(info.name)
	return info, nil
}

// parseModInfo reads NUL-separated assignments:
//
//	depends=videodev,mc\0name=v4l2loopback\0vermagic=6.12.117 SMP mod_unload \0
func parseModInfo(text []byte) *modInfo {
	info := &modInfo{}
	for field := range bytes.SplitSeq(text, []byte{0}) {
		name, value, _ := strings.Cut(string(field), "=")
		switch name {
		case "name":
			info.name = value
		case "vermagic":
			info.vermagic = value
		case "depends":
			for dep := range strings.SplitSeq(value, ",") {
				if dep != "" {
					info.depends = append(info.depends, ModuleName(dep))
				}
			}
		}
	}
	return info
}

// ModuleName is a module's name as in /proc/modules: kmemleak-test.ko, as
// modprobe takes it, is kmemleak_test there.
func ModuleName(s string) string {
	return strings.ReplaceAll(strings.TrimSuffix(s, ".ko"), "-", "_")
}

// fits checks that the kernel will load the module.
func (m *modInfo) fits(k *Kernel) error {
	if facts, ok := archs[k.Arch]; ok && m.machine != facts.machine {
		return fmt.Errorf("module %s is built for %s, not for %s", m.name, m.machine, k.Arch)
	}
	release, _, _ := strings.Cut(m.vermagic, " ")
	if release != k.Release {
		return fmt.Errorf("module %s is built for kernel %q, not for %q (vermagic)", m.name, release, k.Release)
	}
	return nil
}

// loadOrder sorts modules so that each comes after those it needs.
func loadOrder(modules []Module) ([]Module, error) {
	byName := map[string]Module{}
	for _, m := range modules {
		if _, twice := byName[m.Name]; twice {
			return nil, fmt.Errorf("two modules have the name %s", m.Name)
		}
		byName[m.Name] = m
	}
	var ordered []Module
	state := map[string]int{} // 1: on the way, 2: placed
	var place func(m Module) error
	place = func(m Module) error {
		switch state[m.Name] {
		case 1:
			return fmt.Errorf("module %s needs itself, by way of others", m.Name)
		case 2:
			return nil
		}
		state[m.Name] = 1
		for _, dep := range m.Depends {
			if d, ok := byName[dep]; ok {
				if err := place(d); err != nil {
					return err
				}
			}
		}
		state[m.Name] = 2
		ordered = append(ordered, m)
		return nil
	}
	for _, m := range modules {
		if err := place(m); err != nil {
			return nil, err
		}
	}
	return ordered, nil
}
