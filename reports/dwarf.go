package reports

import (
	"cmp"
	"debug/dwarf"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
)

// dwarfIndex finds functions and lines by address.
type dwarfIndex struct {
	data      *dwarf.Data
	funcs     []dwarfFunc // sorted by low
	sequences []sequence  // sorted by low
	units     []unit
}

// unit is a compilation unit: its primary source and the files it names.
type unit struct {
	name  string
	files []*dwarf.LineFile
}

// dwarfFunc is one contiguous range of a function.
type dwarfFunc struct {
	low, high uint64
	offset    dwarf.Offset
	unit      int
}

// sequence is a run of line table rows with rising addresses.
type sequence struct {
	low, high uint64
	rows      []lineRow
}

type lineRow struct {
	addr uint64
	file string
	line int
}

// position is one level of an inline-expanded address.
type position struct {
	function string
	low      uint64 // where the real function begins; 0 for inlined ones
	file     string // as the compiler wrote it, made absolute
	line     int
	inlined  bool
}

func indexDWARF(d *dwarf.Data) (*dwarfIndex, error) {
	x := &dwarfIndex{data: d}
	r := d.Reader()
	for {
		e, err := r.Next()
		if err != nil {
			return nil, fmt.Errorf("debug info: %w", err)
		}
		if e == nil {
			break
		}
		switch e.Tag {
		case dwarf.TagCompileUnit:
			if err := x.addUnit(e); err != nil {
				return nil, err
			}
			continue // to its children
		case dwarf.TagSubprogram:
			if err := x.addFunc(e); err != nil {
				return nil, err
			}
		}
		r.SkipChildren()
	}
	slices.SortFunc(x.funcs, func(a, b dwarfFunc) int { return cmp.Compare(a.low, b.low) })
	slices.SortFunc(x.sequences, func(a, b sequence) int { return cmp.Compare(a.low, b.low) })
	return x, nil
}

func (x *dwarfIndex) addUnit(e *dwarf.Entry) error {
	u := unit{}
	u.name, _ = e.Val(dwarf.AttrName).(string)
	if dir, _ := e.Val(dwarf.AttrCompDir).(string); !filepath.IsAbs(u.name) {
		u.name = filepath.Join(dir, u.name)
	}
	lr, err := x.data.LineReader(e)
	if err != nil {
		return fmt.Errorf("line table of %s: %w", u.name, err)
	}
	if lr != nil {
		if err := x.addLines(lr); err != nil {
			return fmt.Errorf("line table of %s: %w", u.name, err)
		}
		u.files = lr.Files()
	}
	x.units = append(x.units, u)
	return nil
}

// addLines reads a unit's line table. Of several rows for one address the last
// one holds.
func (x *dwarfIndex) addLines(lr *dwarf.LineReader) error {
	var seq sequence
	for {
		var e dwarf.LineEntry
		if err := lr.Next(&e); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if e.EndSequence {
			if len(seq.rows) > 0 {
				seq.low, seq.high = seq.rows[0].addr, e.Address
				x.sequences = append(x.sequences, seq)
			}
			seq = sequence{}
			continue
		}
		row := lineRow{addr: e.Address, line: e.Line}
		if e.File != nil {
			row.file = e.File.Name
		}
		if n := len(seq.rows); n > 0 && seq.rows[n-1].addr == row.addr {
			seq.rows[n-1] = row
		} else {
			seq.rows = append(seq.rows, row)
		}
	}
}

func (x *dwarfIndex) addFunc(e *dwarf.Entry) error {
	ranges, err := x.data.Ranges(e)
	if err != nil {
		return fmt.Errorf("ranges of a function: %w", err)
	}
	for _, r := range ranges {
		if r[0] >= layoutStart { // the rest was dropped by the linker
			x.funcs = append(x.funcs, dwarfFunc{r[0], r[1], e.Offset, len(x.units) - 1})
		}
	}
	return nil
}

// line returns the row that covers an address.
func (x *dwarfIndex) line(addr uint64) (lineRow, bool) {
	i, _ := slices.BinarySearchFunc(x.sequences, addr, func(s sequence, a uint64) int { return cmp.Compare(s.low, a+1) })
	for i--; i >= 0; i-- { // sequences of different units do not overlap, but empty ones may precede
		s := x.sequences[i]
		if addr >= s.high {
			if s.high == s.low {
				continue
			}
			return lineRow{}, false
		}
		k, exact := slices.BinarySearchFunc(s.rows, addr, func(r lineRow, a uint64) int { return cmp.Compare(r.addr, a) })
		if !exact {
			k--
		}
		return s.rows[max(k, 0)], true
	}
	return lineRow{}, false
}

// lookup expands an address to its function and those inlined into it, the
// innermost first.
func (x *dwarfIndex) lookup(addr uint64) ([]position, error) {
	i, _ := slices.BinarySearchFunc(x.funcs, addr, func(f dwarfFunc, a uint64) int { return cmp.Compare(f.low, a+1) })
	if i--; i < 0 || addr >= x.funcs[i].high {
		return nil, nil
	}
	f := x.funcs[i]
	chain, err := x.chain(f, addr)
	if err != nil {
		return nil, err
	}
	row, _ := x.line(addr)
	file, line := row.file, row.line
	var out []position
	for k := len(chain) - 1; k >= 0; k-- {
		e := chain[k]
		p := position{function: x.name(e, 0), file: file, line: line, inlined: k > 0}
		if k == 0 {
			p.low = f.low
		}
		out = append(out, p)
		n, _ := e.Val(dwarf.AttrCallLine).(int64)
		line, file = int(n), x.fileOf(f.unit, e)
	}
	return out, nil
}

// fileOf is the file of an inlined function's call.
func (x *dwarfIndex) fileOf(u int, e *dwarf.Entry) string {
	n, ok := e.Val(dwarf.AttrCallFile).(int64)
	files := x.units[u].files
	if !ok || n < 0 || n >= int64(len(files)) || files[n] == nil {
		return ""
	}
	return files[n].Name
}

// chain returns the function's entry and those of the inlined functions that
// contain an address, the outermost first.
func (x *dwarfIndex) chain(f dwarfFunc, addr uint64) ([]*dwarf.Entry, error) {
	r := x.data.Reader()
	r.Seek(f.offset)
	root, err := r.Next()
	if err != nil || root == nil {
		return nil, fmt.Errorf("function at 0x%x: %w", f.offset, err)
	}
	chain := []*dwarf.Entry{root}
	depth := 1
	if !root.Children {
		return chain, nil
	}
	for depth > 0 {
		e, err := r.Next()
		if err != nil {
			return nil, fmt.Errorf("function at 0x%x: %w", f.offset, err)
		}
		switch {
		case e == nil:
			return chain, nil
		case e.Tag == 0:
			depth--
		case e.Tag == dwarf.TagInlinedSubroutine || e.Tag == dwarf.TagLexDwarfBlock:
			inside, err := x.contains(e, addr)
			if err != nil {
				return nil, err
			}
			if inside && e.Tag == dwarf.TagInlinedSubroutine {
				chain = append(chain, e)
			}
			if e.Children && inside {
				depth++
			} else {
				r.SkipChildren()
			}
		default:
			r.SkipChildren()
		}
	}
	return chain, nil
}

func (x *dwarfIndex) contains(e *dwarf.Entry, addr uint64) (bool, error) {
	ranges, err := x.data.Ranges(e)
	if err != nil {
		return false, fmt.Errorf("ranges at 0x%x: %w", e.Offset, err)
	}
	for _, r := range ranges {
		if addr >= r[0] && addr < r[1] {
			return true, nil
		}
	}
	// A block without addresses of its own says nothing: its children do.
	return len(ranges) == 0 && e.Tag == dwarf.TagLexDwarfBlock, nil
}

// maxOrigins bounds the way from an inlined function to its name.
const maxOrigins = 8

// name follows an entry to the one that bears its name.
func (x *dwarfIndex) name(e *dwarf.Entry, depth int) string {
	if name, ok := e.Val(dwarf.AttrName).(string); ok {
		return name
	}
	for _, attr := range []dwarf.Attr{dwarf.AttrAbstractOrigin, dwarf.AttrSpecification} {
		off, ok := e.Val(attr).(dwarf.Offset)
		if !ok || depth > maxOrigins {
			continue
		}
		r := x.data.Reader()
		r.Seek(off)
		if origin, err := r.Next(); err == nil && origin != nil {
			return x.name(origin, depth+1)
		}
	}
	return ""
}
