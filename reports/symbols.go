package reports

import (
	"debug/elf"
	"fmt"
	"slices"
)

// Vmlinux is the kernel itself among a capture's modules.
const Vmlinux = "vmlinux"

// symbolizer turns the raw frames of records into functions and lines. The
// kernel resolves a frame when kmemleak's file is read: by then the module is
// gone, or another one lies in its place. So it is resolved here, through the
// addresses that were noted at every load.
type symbolizer struct {
	modules  map[string]*elfModule
	paths    map[string]*pathMap
	places   []placement
	loads    []Load
	cache    map[place][]Frame
	warnings []string
}

// placement is an executable section of one load.
type placement struct {
	load       int // index of loads
	init       bool
	start, end uint64
	base       uint64 // of the section in the elfModule's layout
}

// place is a spot in a module's layout.
type place struct {
	module string
	addr   uint64
}

func newSymbolizer(c *Capture, src *sources) *symbolizer {
	s := &symbolizer{modules: map[string]*elfModule{}, paths: map[string]*pathMap{}, cache: map[place][]Frame{}, loads: allLoads(c)}
	for _, m := range c.Modules {
		if m.Path == "" {
			continue
		}
		em, err := openModule(modulePath(c.Dir, m))
		if err != nil {
			s.warnings = append(s.warnings, fmt.Sprintf("no lines for module %s: %v", m.Name, err))
			continue
		}
		switch {
		case em.dwarfErr != nil:
			s.warnings = append(s.warnings, fmt.Sprintf("no lines for module %s: %v", m.Name, em.dwarfErr))
		case em.dwarf == nil && m.UnderTest:
			s.warnings = append(s.warnings, fmt.Sprintf("no lines for module %s: it has no DWARF; build it with -g", m.Name))
		}
		s.modules[m.Name] = em
		s.paths[m.Name] = newPathMap(c, em.dwarf, src)
	}
	s.place()
	return s
}

// withoutLoads resolves what a guest printed in which none of the modules was
// loaded: the kernel's own frames, and no others.
func (s *symbolizer) withoutLoads() *symbolizer {
	bare := *s
	bare.places, bare.loads, bare.warnings = nil, nil, nil
	return &bare
}

// place notes where the executable sections of every load lay.
func (s *symbolizer) place() {
	for i, l := range s.loads {
		m := s.modules[l.Module]
		if m == nil {
			continue
		}
		for name, start := range l.Sections {
			at, ok := m.byName[name]
			if !ok || m.file.Sections[at].Flags&elf.SHF_EXECINSTR == 0 {
				continue
			}
			s.places = append(s.places, placement{i, name == ".init.text", start, start + m.file.Sections[at].Size, m.bases[at]})
		}
	}
}

// frames resolves a record's backtrace, with inlined functions expanded, the
// innermost first.
func (s *symbolizer) frames(rec *Record) []Frame {
	out := make([]Frame, 0, len(rec.Frames))
	for _, f := range rec.Frames {
		out = append(out, s.frame(f, rec)...)
	}
	return out
}

func (s *symbolizer) frame(f RawFrame, rec *Record) []Frame {
	addr := f.Addr
	if addr == 0 && f.Module != "" {
		addr = s.printed(f)
	}
	if addr != 0 {
		if at, ok := s.locate(addr, rec); ok {
			return s.expand(at)
		}
	}
	if f.Symbol == "" {
		name := "unknown function"
		if f.Addr != 0 {
			name = fmt.Sprintf("0x%x", f.Addr)
		}
		return []Frame{{Function: name}}
	}
	if f.Module == "" {
		if at, ok := s.kernelPlace(f); ok {
			return named(s.expand(at), f)
		}
	}
	return []Frame{{Function: f.Symbol, Offset: f.Offset, Module: f.Module}}
}

// printed turns a name that the kernel printed back into an address, through
// the module that lay there when it was read: the last load of that name. Zero
// if that is not known.
func (s *symbolizer) printed(f RawFrame) uint64 {
	m := s.modules[f.Module]
	if m == nil {
		return 0
	}
	last := -1
	for i, l := range s.loads {
		if l.Module == f.Module && len(l.Sections) > 0 {
			last = i
		}
	}
	for _, k := range m.symbols[f.Symbol] {
		fn := m.funcs[k]
		if fn.size != 0 && f.Size < fn.size { // two static functions of one name; kallsyms counts the padding in
			continue
		}
		for _, p := range s.places {
			if size := p.end - p.start; p.load == last && fn.addr >= p.base && fn.addr < p.base+size {
				return p.start + (fn.addr - p.base) + f.Offset
			}
		}
	}
	return 0
}

// locate finds out who lay at a return address when the object was allocated:
// the youngest load whose time covers the object's jiffies, that of the
// object's own task first. Where the jiffies fit none, the address decides, if
// there is only one answer.
func (s *symbolizer) locate(ret uint64, rec *Record) (place, bool) {
	pc := ret - 1 // a return address is behind the call, maybe behind the function
	best, only, several := -1, place{}, false
	var bestPlace place
	for _, p := range s.places {
		if pc < p.start || pc >= p.end {
			continue
		}
		l := s.loads[p.load]
		if p.init && l.Inited != 0 && rec.Jiffies > l.Inited {
			continue // given back: whose code lies there now is not known
		}
		at := place{l.Module, p.base + (pc - p.start)}
		several = several || only != place{} && only != at
		only = at
		if !l.covers(rec.Jiffies) {
			continue
		}
		if best < 0 || s.prefer(p.load, best, rec.PID) {
			best, bestPlace = p.load, at
		}
	}
	if best >= 0 {
		return bestPlace, true
	}
	return only, only != place{} && !several
}

// prefer tells whether load a is the better answer than b, which covers the
// object's time too. Freed .init.text is used again while its module stays, so
// the younger load is right; loads within one jiffy are told apart by the task.
func (s *symbolizer) prefer(a, b, pid int) bool {
	x, y := s.loads[a], s.loads[b]
	if x.Begin != y.Begin {
		if y.PID == pid && x.PID != pid && y.End == x.Begin {
			return false // the older one's task, in the jiffy in which the younger began
		}
		return x.Begin > y.Begin
	}
	return x.PID == pid && y.PID != pid
}

func (l Load) covers(jiffies uint64) bool {
	return jiffies >= l.Begin && (l.End == 0 || jiffies <= l.End)
}

// kernelPlace finds a frame of the kernel's own, where the capture has a
// vmlinux. Of two static functions of one name it takes the one of the printed
// size, to which kallsyms counts the padding; where that is not one, neither.
func (s *symbolizer) kernelPlace(f RawFrame) (place, bool) {
	m := s.modules[Vmlinux]
	if m == nil || m.dwarf == nil {
		return place{}, false
	}
	var found []elfFunc
	for _, k := range m.symbols[f.Symbol] {
		if fn := m.funcs[k]; f.Size >= fn.size && f.Size-fn.size < maxPadding && f.Offset > 0 {
			found = append(found, fn)
		}
	}
	if len(found) != 1 {
		return place{}, false
	}
	return place{Vmlinux, found[0].addr + f.Offset - 1}, true
}

// maxPadding bounds what lies between two functions (CONFIG_FUNCTION_ALIGNMENT
// is 64 at most, and before one there may be as much for its prefix).
const maxPadding = 128

// named keeps a frame's name and offset as the kernel printed them: DWARF may have
// another for the same function (an alias, a clone without its suffix), and a
// signature must not depend on whether the kernel has DWARF.
func named(frames []Frame, f RawFrame) []Frame {
	out := slices.Clone(frames)
	last := &out[len(out)-1]
	last.Function, last.Offset = f.Symbol, f.Offset
	return out
}

// expand turns a place into frames.
func (s *symbolizer) expand(at place) []Frame {
	if frames, ok := s.cache[at]; ok {
		return frames
	}
	frames := s.expandPlace(at)
	s.cache[at] = frames
	return frames
}

func (s *symbolizer) expandPlace(at place) []Frame {
	m := s.modules[at.module]
	module := at.module
	if module == Vmlinux {
		module = ""
	}
	fn, known := m.function(at.addr)
	var positions []position
	if m.dwarf != nil {
		var err error
		if positions, err = m.dwarf.lookup(at.addr); err != nil {
			s.warnings = append(s.warnings, fmt.Sprintf("no line for an address of module %s: %v", at.module, err))
		}
	}
	if len(positions) == 0 {
		if !known {
			return []Frame{{Function: "unknown function", Module: module}}
		}
		return []Frame{{Function: fn.name, Offset: at.addr + 1 - fn.addr, Module: module}}
	}
	frames := make([]Frame, 0, len(positions))
	for _, p := range positions {
		f := Frame{Function: p.function, Module: module, Line: p.line, Inlined: p.inlined}
		f.File, f.kernel = s.paths[at.module].relative(p.file)
		if !p.inlined {
			f.Offset = at.addr + 1 - p.low
			if known {
				f.Offset = at.addr + 1 - fn.addr
			}
		}
		frames = append(frames, f)
	}
	return frames
}
