package kernels

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"strings"
)

// ModuleFacts are what a module says of itself beyond its needs.
type ModuleFacts struct {
	// Permanent modules are those that the kernel refuses to unload
	// (kernel/module/main.c, delete_module: init without exit).
	Permanent bool
	// Before are modules, by name or alias, that modprobe would load first
	// without a symbol that is needed.
	Before  []string
	Aliases []string
}

// ReadFacts reads them from a module's file.
func ReadFacts(file string) (ModuleFacts, error) {
	var facts ModuleFacts
	f, err := elf.Open(file)
	if err != nil {
		return facts, fmt.Errorf("module %s: %w", file, err)
	}
	defer f.Close()
	symbols, err := f.Symbols()
	if err != nil && !errors.Is(err, elf.ErrNoSymbols) {
		return facts, fmt.Errorf("module %s: %w", file, err)
	}
	has := map[string]bool{}
	for _, s := range symbols {
		has[s.Name] = has[s.Name] || s.Section != elf.SHN_UNDEF
	}
	facts.Permanent = has["init_module"] && !has["cleanup_module"]
	info := f.Section(".modinfo")
	if info == nil {
		return facts, nil
	}
	text, err := info.Data()
	if err != nil {
		return facts, fmt.Errorf("module %s: %w", file, err)
	}
	facts.Before, facts.Aliases = parseLoose(text)
	return facts, nil
}

// parseLoose reads the soft dependencies and the aliases of a .modinfo section:
//
//	alias=crypto-crc32\0softdep=pre: crc32c md5 post: sha1\0
func parseLoose(text []byte) (before, aliases []string) {
	for field := range bytes.SplitSeq(text, []byte{0}) {
		name, value, _ := strings.Cut(string(field), "=")
		switch name {
		case "alias":
			aliases = append(aliases, value)
		case "softdep":
			before = append(before, softBefore(value)...)
		}
	}
	return before, aliases
}

// softBefore is what stands behind "pre:", wherever that is.
func softBefore(softdep string) []string {
	var names []string
	pre := false
	for _, word := range strings.Fields(softdep) {
		switch word {
		case "pre:", "post:":
			pre = word == "pre:"
		default:
			if pre {
				names = append(names, word)
			}
		}
	}
	return names
}
