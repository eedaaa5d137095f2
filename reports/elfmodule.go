package reports

import (
	"bytes"
	"cmp"
	"debug/dwarf"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// maxModule bounds a module's file; the largest of a distribution have 60 MB
// with DWARF.
const maxModule = 512 << 20

// elfModule is a module's unstripped file. A module is a relocatable object:
// all its sections begin at 0, so .text and .init.text overlap. They are laid
// out here one behind the other, at addresses of our own, and all symbols and
// DWARF are relocated to them.
type elfModule struct {
	file     *elf.File
	bases    []uint64         // by section index; 0 for what is not loaded
	byName   map[string]int   // loaded sections
	funcs    []elfFunc        // sorted by address
	symbols  map[string][]int // function names to indices of funcs
	undef    map[string]bool  // imports
	syms     []elf.Symbol
	dwarf    *dwarfIndex // nil where there is no DWARF
	dwarfErr error
}

// elfFunc is a function of the symbol table, at its address in our layout.
type elfFunc struct {
	name       string
	addr, size uint64
}

// layoutStart keeps address 0 free: line tables mark what the linker dropped
// with it.
const layoutStart = 0x10000

func openModule(path string) (*elfModule, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read module: %w", err)
	}
	if info.Size() > maxModule {
		return nil, fmt.Errorf("read module: %s: longer than %d bytes", path, maxModule)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read module: %w", err)
	}
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("read module: %s: %w", path, err)
	}
	m := &elfModule{file: f, byName: map[string]int{}, symbols: map[string][]int{}, undef: map[string]bool{}}
	if f.Class != elf.ELFCLASS64 || f.Data != elf.ELFDATA2LSB {
		return nil, fmt.Errorf("read module: %s: want a 64-bit little-endian object", path)
	}
	m.layout()
	if err := m.readSymbols(); err != nil {
		return nil, fmt.Errorf("read module: %s: %w", path, err)
	}
	if m.dwarf, err = m.readDWARF(); err != nil && !errors.Is(err, errNoDWARF) {
		m.dwarfErr = fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// layout places the sections that are loaded. An executable (vmlinux) keeps its
// own addresses.
func (m *elfModule) layout() {
	m.bases = make([]uint64, len(m.file.Sections))
	next := uint64(layoutStart)
	for i, s := range m.file.Sections {
		if s.Flags&elf.SHF_ALLOC == 0 {
			continue
		}
		m.bases[i] = next
		next = (next + s.Size + 0xfff) &^ 0xfff
		if m.file.Type != elf.ET_REL {
			m.bases[i] = s.Addr
		}
		if _, dup := m.byName[s.Name]; !dup {
			m.byName[s.Name] = i
		}
	}
}

func (m *elfModule) readSymbols() error {
	syms, err := m.file.Symbols()
	if err != nil && !errors.Is(err, elf.ErrNoSymbols) {
		return err
	}
	m.syms = syms
	for _, s := range syms {
		switch {
		case s.Section == elf.SHN_UNDEF && s.Name != "":
			m.undef[s.Name] = true
		case elf.ST_TYPE(s.Info) == elf.STT_FUNC && int(s.Section) < len(m.bases) && !strings.HasPrefix(s.Name, "__pfx_"):
			m.funcs = append(m.funcs, elfFunc{s.Name, m.address(s), s.Size})
		}
	}
	slices.SortStableFunc(m.funcs, func(a, b elfFunc) int { return cmp.Compare(a.addr, b.addr) })
	for i, f := range m.funcs {
		m.symbols[f.name] = append(m.symbols[f.name], i)
	}
	return nil
}

// address is where a symbol lies in our layout.
func (m *elfModule) address(s elf.Symbol) uint64 {
	if m.file.Type != elf.ET_REL || int(s.Section) >= len(m.bases) {
		return s.Value
	}
	return m.bases[s.Section] + s.Value
}

// function returns the function of the symbol table at an address.
func (m *elfModule) function(addr uint64) (elfFunc, bool) {
	i, exact := slices.BinarySearchFunc(m.funcs, addr, func(f elfFunc, a uint64) int { return cmp.Compare(f.addr, a) })
	if !exact {
		i--
	}
	if i < 0 {
		return elfFunc{}, false
	}
	f := m.funcs[i]
	return f, addr < f.addr+max(f.size, 1)
}

var errNoDWARF = errors.New("no DWARF")

// readDWARF relocates the debug sections and indexes them.
func (m *elfModule) readDWARF() (*dwarfIndex, error) {
	data := map[string][]byte{}
	for i, s := range m.file.Sections {
		name, ok := strings.CutPrefix(s.Name, ".debug_")
		if !ok || s.Type == elf.SHT_RELA {
			continue
		}
		b, err := s.Data()
		if err != nil {
			return nil, fmt.Errorf("section %s: %w", s.Name, err)
		}
		if m.file.Type == elf.ET_REL {
			if err := m.relocate(i, b); err != nil {
				return nil, fmt.Errorf("section %s: %w", s.Name, err)
			}
		}
		data[name] = b
	}
	if len(data["info"]) == 0 {
		return nil, errNoDWARF
	}
	d, err := dwarf.New(data["abbrev"], nil, nil, data["info"], data["line"], nil, data["ranges"], data["str"])
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"addr", "line_str", "str_offsets", "rnglists", "loclists"} { // DWARF 5
		if err := d.AddSection(".debug_"+name, data[name]); err != nil {
			return nil, err
		}
	}
	return indexDWARF(d)
}

// relocations maps the types that compilers put into debug sections to their
// width in bytes: absolute words and offsets only.
// (x86-64 psABI, table 4.9; ELF for the Arm 64-bit Architecture, table 5-6)
var relocations = map[elf.Machine]map[uint32]int{
	elf.EM_X86_64:  {uint32(elf.R_X86_64_NONE): 0, uint32(elf.R_X86_64_64): 8, uint32(elf.R_X86_64_32): 4, uint32(elf.R_X86_64_32S): 4},
	elf.EM_AARCH64: {uint32(elf.R_AARCH64_NONE): 0, 256: 0, uint32(elf.R_AARCH64_ABS64): 8, uint32(elf.R_AARCH64_ABS32): 4},
}

// relocate applies the relocations of one section to its contents.
func (m *elfModule) relocate(section int, b []byte) error {
	widths := relocations[m.file.Machine]
	return m.eachRelocation(section, func(off uint64, typ uint32, sym elf.Symbol, addend int64) error {
		width, known := widths[typ]
		if !known {
			return fmt.Errorf("relocation type %d of %s is not known", typ, m.file.Machine)
		}
		if off > uint64(len(b)) || uint64(len(b))-off < uint64(width) {
			return fmt.Errorf("relocation at 0x%x lies beyond the section's end", off)
		}
		value := m.address(sym) + uint64(addend)
		switch width {
		case 8:
			binary.LittleEndian.PutUint64(b[off:], value)
		case 4:
			binary.LittleEndian.PutUint32(b[off:], uint32(value))
		}
		return nil
	})
}

// eachRelocation visits the RELA entries of a section; both architectures know
// no other kind.
func (m *elfModule) eachRelocation(section int, visit func(off uint64, typ uint32, sym elf.Symbol, addend int64) error) error {
	for _, s := range m.file.Sections {
		if s.Type != elf.SHT_RELA || int(s.Info) != section {
			continue
		}
		rela, err := s.Data()
		if err != nil {
			return err
		}
		for ; len(rela) >= 24; rela = rela[24:] {
			info := binary.LittleEndian.Uint64(rela[8:])
			var sym elf.Symbol
			if n := elf.R_SYM64(info); n > 0 { // Symbols leaves out the null symbol
				if int(n) > len(m.syms) {
					return fmt.Errorf("relocation names symbol %d of %d", n, len(m.syms))
				}
				sym = m.syms[n-1]
			}
			if err := visit(binary.LittleEndian.Uint64(rela), elf.R_TYPE64(info), sym, int64(binary.LittleEndian.Uint64(rela[16:]))); err != nil {
				return err
			}
		}
	}
	return nil
}
