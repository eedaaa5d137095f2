package reports

import (
	"strconv"
	"strings"
)

// parseFrames reads the frames, none to maxFrames. Most records of a file share
// a few backtraces, so equal ones are parsed and stored once.
func (p *parser) parseFrames(r *Record) error {
	p.trace = p.trace[:0]
	first := len(p.lines)
	for {
		l, err := p.optional()
		if err != nil {
			return err
		}
		if l == nil {
			break
		}
		if !strings.HasPrefix(l.text, "    ") || strings.HasPrefix(l.text, "    ... and ") {
			p.unread()
			break
		}
		if len(p.lines)-first == maxFrames {
			return p.errorf(l.text, "at most %d frames", maxFrames)
		}
		p.keep(*l)
		p.trace = append(append(p.trace, l.text...), '\n')
		if p.prefix { // strangers may stand between: parse at once, to name the right line
			if _, ok := parseFrame(l.text[4:]); !ok {
				return p.errorf(l.text, wantFrame)
			}
		}
	}
	return p.internFrames(r, p.lines[first:])
}

const wantFrame = `"[<address>] symbol+0x…/0x… [module]"`

func (p *parser) internFrames(r *Record, lines []string) error {
	if frames, ok := p.traces[string(p.trace)]; ok {
		r.Frames = frames
		return nil
	}
	if len(lines) > 0 {
		r.Frames = make([]RawFrame, 0, len(lines))
	}
	for i, s := range lines {
		f, ok := parseFrame(s[4:])
		if !ok {
			return &ParseError{p.name, r.Line + len(p.lines) - len(lines) + i, s, wantFrame}
		}
		r.Frames = append(r.Frames, f)
	}
	if len(p.traces) < maxInterned {
		p.traces[string(p.trace)] = r.Frames
	}
	return nil
}

// parseFrame parses one frame. Its two parts, the pointer and the symbol, come
// in every mixture: kernels print "[<%p>] %pS" (raw before 4.15, hashed after)
// or "%pS" alone, and a symbol may be a bare address.
//
// Example: [<00000000a1b2c3d4>] leak_in_probe+0x1c/0x40 [foo]
func parseFrame(s string) (RawFrame, bool) {
	var f RawFrame
	if rest, ok := strings.CutPrefix(s, "[<"); ok {
		if f.Pointer, s, ok = strings.Cut(rest, ">] "); !ok || !f.parsePointer() {
			return f, false
		}
	}
	if addr, ok := parseHex(s); ok {
		if f.Addr != 0 && f.Addr != addr {
			return f, false
		}
		f.Addr = addr
		return f, true
	}
	return f, f.parseSymbol(s)
}

// parsePointer tells addresses from their hashes. %p hashes to 32 bits, padded
// to the width of a pointer: sixteen digits that begin with eight zeroes.
func (f *RawFrame) parsePointer() bool {
	if f.Pointer == "(____ptrval____)" || f.Pointer == "(ptrval)" {
		f.Hashed = true
		return true
	}
	v, err := strconv.ParseUint(strings.TrimPrefix(f.Pointer, "0x"), 16, 64)
	if err != nil || len(f.Pointer) > 18 || strings.ContainsAny(f.Pointer, "_+-") {
		return false
	}
	if len(f.Pointer) == 16 && v>>32 == 0 {
		f.Hashed = true
		return true
	}
	f.Addr = v
	return true
}

// parseSymbol parses symbol+0xoffset/0xsize [module]. Symbols are not C's
// names only: f.constprop.0, f.isra.0.cold and Rust's mangled names occur.
func (f *RawFrame) parseSymbol(s string) bool {
	if sym, mod, ok := strings.Cut(s, " ["); ok {
		mod, found := strings.CutSuffix(mod, "]")
		if !found || mod == "" || strings.ContainsAny(mod, " []") {
			return false
		}
		s, f.Module = sym, mod
	}
	at := strings.LastIndex(s, "+0x")
	if at <= 0 {
		return false
	}
	off, size, ok := strings.Cut(s[at+1:], "/")
	var okOff, okSize bool
	f.Offset, okOff = parseHex(off)
	f.Size, okSize = parseHex(size)
	f.Symbol = s[:at]
	return ok && okOff && okSize && !strings.ContainsAny(f.Symbol, " \t[]<>")
}
