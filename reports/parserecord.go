package reports

import (
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
)

const (
	headerStart = "unreferenced object"
	moreSuffix  = " more object(s) with the same backtrace"
)

// record reads one record, or returns io.EOF.
func (p *parser) record() (Record, error) {
	rec := Record{Age: noAge, DumpCPU: -1}
	header, err := p.header()
	if err != nil {
		return Record{}, err
	}
	rec.Line = p.line
	p.prefix, p.stamped, p.plain, p.begun = header.prefix, header.log, true, true
	p.mark, p.lines = p.start, p.lines[:0]
	p.keep(header)
	if err := p.parseHeader(&rec, header.text); err != nil {
		return Record{}, err
	}
	if err := p.parseBody(&rec); err != nil {
		return Record{}, err
	}
	rec.Raw = p.raw()
	if !p.plain {
		rec.Comm = strings.Clone(rec.Comm) // a few bytes, for which all that was read would stay in memory
	}
	return rec, nil
}

// parseBody parses the parts below the header in their order.
func (p *parser) parseBody(r *Record) error {
	if err := p.parseComm(r); err != nil {
		return err
	}
	if err := p.parseDump(r); err != nil {
		return err
	}
	if err := p.parseBacktrace(r); err != nil {
		return err
	}
	if err := p.parseFrames(r); err != nil {
		return err
	}
	return p.parseMore(r)
}

// keep notes a line of the record.
func (p *parser) keep(l line) {
	p.lines = append(p.lines, l.text)
	p.plain = p.plain && l.plain
}

// raw is the record's text: the very bytes that were read, where nothing had to
// be taken off.
func (p *parser) raw() string {
	if p.plain {
		return p.buf[p.mark:p.pos]
	}
	return strings.Join(p.lines, "\n") + "\n"
}

// header finds the next record's first line. What lies before it is an error
// in a file; in a log it is passed over, but for kmemleak's own indented lines,
// which belong to a record: without its header a record would be lost silently.
// Only the very start of a log may be cut, since the kernel's buffer is a ring.
func (p *parser) header() (line, error) {
	for {
		p.mark = p.pos
		l, err := p.read()
		if err != nil {
			return line{}, err
		}
		switch {
		case strings.HasPrefix(l.text, headerStart):
			return l, nil
		case !p.inLog:
			return line{}, p.errorf(l.text, `"unreferenced object[ (phys)| (percpu)] 0x… (size …):"`)
		case l.prefix && p.begun && p.prefix && strings.HasPrefix(l.text, "  ") && !isDumpObject(l.text):
			return line{}, p.errorf(l.text, "a record's header before it")
		case l.prefix && !strings.HasPrefix(l.text, "  "):
			p.prefix = false // another message of kmemleak stands between: what is indented now is that message's
		}
	}
}

// isDumpObject tells lines that only the answer to dump=ADDR has.
func isDumpObject(s string) bool { return strings.Contains(s, " = ") }

// body returns the record's next line. In a log, lines of others stand between
// a record's lines: with a prefix they are told apart by it.
func (p *parser) body(want string) (line, error) {
	for {
		l, err := p.read()
		if errors.Is(err, io.EOF) {
			return line{}, p.errorf("end of file", "%s", want)
		}
		if err != nil {
			return line{}, err
		}
		if p.foreign(l) {
			continue
		}
		return l, nil
	}
}

// foreign tells lines that others wrote between a record's: the kernel, while a
// console showed the file, or anybody, while the kernel wrote a record.
func (p *parser) foreign(l line) bool {
	if p.prefix && !l.prefix || !p.stamped && l.log {
		p.plain = false
		return true
	}
	return false
}

// parseHeader parses a record's first line.
//
// Example: unreferenced object (percpu) 0x607b97e9cab8 (size 64):
func (p *parser) parseHeader(r *Record, s string) error {
	const want = `"unreferenced object[ (phys)| (percpu)] 0x… (size …):"`
	rest, ok := strings.CutPrefix(s, headerStart+" ")
	if !ok {
		return p.errorf(s, want)
	}
	r.Kind = KindObject
	for _, kind := range []string{KindPhys, KindPercpu} {
		if after, ok := strings.CutPrefix(rest, "("+kind+") "); ok {
			rest, r.Kind = after, kind
		}
	}
	addr, rest, ok := strings.Cut(rest, " (size ")
	size, end, ok2 := strings.Cut(rest, "):")
	if !ok || !ok2 || end != "" {
		return p.errorf(s, want)
	}
	if r.Address, ok = parseHex(addr); !ok {
		return p.errorf(s, "a hex address after %q", headerStart)
	}
	n, err := strconv.ParseUint(size, 10, 64)
	if err != nil || n > math.MaxInt64 {
		return p.errorf(s, "a decimal size")
	}
	r.Size = int64(n)
	return nil
}

// parseHex parses 0x and 1 to 16 digits.
func parseHex(s string) (uint64, bool) {
	digits, ok := strings.CutPrefix(s, "0x")
	if !ok || len(digits) > 16 {
		return 0, false
	}
	v, err := strconv.ParseUint(digits, 16, 64)
	return v, err == nil
}

// parseComm parses the second line. The name may hold any bytes, quotes and
// newlines too, so the last `", pid` counts, and lines are joined up to it.
//
// Example: comm "insmod", pid 71, jiffies 4294895123 (age 12.340s)
func (p *parser) parseComm(r *Record) error {
	const want = `  comm "…", pid …, jiffies …`
	l, err := p.body(want)
	if err != nil {
		return err
	}
	p.keep(l)
	rest, ok := strings.CutPrefix(l.text, `  comm "`)
	if !ok {
		return p.errorf(l.text, "%s", want)
	}
	for !strings.Contains(rest, `", pid `) {
		if len(rest) > maxComm {
			return p.errorf(l.text, "%s", want)
		}
		if l, err = p.read(); err != nil {
			return p.errorf(rest, "%s", want)
		}
		p.keep(l)
		rest += "\n" + l.text
	}
	at := strings.LastIndex(rest, `", pid `)
	if at > maxComm {
		return p.errorf(l.text, "a command name of at most %d bytes", maxComm)
	}
	r.Comm = rest[:at]
	return p.parseTask(r, l.text, rest[at+len(`", pid `):])
}

// parseTask parses what follows the name: 71, jiffies 4294895123 (age 12.340s)
func (p *parser) parseTask(r *Record, full, s string) error {
	pid, jiffies, ok := strings.Cut(s, ", jiffies ")
	n, err := strconv.ParseInt(pid, 10, 32)
	if !ok || err != nil {
		return p.errorf(full, "a decimal pid and jiffies")
	}
	r.PID = int(n)
	jiffies, age, hasAge := strings.Cut(jiffies, " (age ")
	if r.Jiffies, err = strconv.ParseUint(jiffies, 10, 64); err != nil {
		return p.errorf(full, "decimal jiffies")
	}
	if !hasAge {
		return nil
	}
	age, end, ok := strings.Cut(age, "s)")
	sec, ms, ok2 := strings.Cut(age, ".")
	s64, err := strconv.ParseUint(sec, 10, 32)
	ms64, err2 := strconv.ParseUint(ms, 10, 10)
	if !ok || !ok2 || end != "" || len(ms) != 3 || err != nil || err2 != nil {
		return p.errorf(full, `" (age 12.345s)" at the end`)
	}
	r.Age = time.Duration(s64)*time.Second + time.Duration(ms64)*time.Millisecond
	return nil
}

// parseDump parses the hex dump, which may be absent.
//
// Example: hex dump (first 32 bytes on cpu 0):
func (p *parser) parseDump(r *Record) error {
	l, err := p.body(`"  hex dump …" or "  backtrace:"`)
	if err != nil {
		return err
	}
	rest, ok := strings.CutPrefix(l.text, "  hex dump (first ")
	if !ok {
		p.unread()
		return nil
	}
	p.keep(l)
	count, tail, ok := strings.Cut(rest, " bytes")
	n, err := strconv.ParseUint(count, 10, 16)
	if !ok || err != nil || n > maxDump {
		return p.errorf(l.text, "at most %d bytes", maxDump)
	}
	if cpu, ok := strings.CutPrefix(tail, " on cpu "); ok {
		num, end, _ := strings.Cut(cpu, ")")
		c, err := strconv.ParseUint(num, 10, 31)
		if err != nil {
			return p.errorf(l.text, "a CPU's number")
		}
		r.DumpCPU, tail = int(c), ")"+end
	}
	if tail != "):" {
		return p.errorf(l.text, `"  hex dump (first … bytes):"`)
	}
	r.Dump = make([]byte, 0, n)
	for len(r.Dump) < int(n) {
		if err := p.parseRow(r, min(dumpRow, int(n)-len(r.Dump))); err != nil {
			return err
		}
	}
	return nil
}

// parseRow parses one row of n bytes. The ASCII column is only measured: the
// kernel reads the object's memory once for each column, and it may change
// between (lib/hexdump.c).
//
// Example: 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b a5  kkkkkkkkkkkkkkk.
func (p *parser) parseRow(r *Record, n int) error {
	l, err := p.body("a row of the hex dump")
	if err != nil {
		return err
	}
	p.keep(l)
	s, ok := strings.CutPrefix(l.text, "    ")
	if !ok || len(s) < 3*n-1 {
		return p.errorf(l.text, "%d bytes in hex", n)
	}
	for i := range n {
		hi, ok := nibble(s[3*i])
		lo, ok2 := nibble(s[3*i+1])
		if !ok || !ok2 || (i < n-1 && s[3*i+2] != ' ') {
			return p.errorf(l.text, "%d bytes in hex", n)
		}
		r.Dump = append(r.Dump, hi<<4|lo)
	}
	column := s[3*n-1:]
	if len(column) > 3*(dumpRow-n)+2+n || (len(column) > 0 && column[0] != ' ') {
		return p.errorf(l.text, "%d bytes in hex and as many characters", n)
	}
	return nil
}

func nibble(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	}
	return 0, false
}

// parseBacktrace parses the line before the frames.
//
// Example: backtrace (crc 4e9ad2ff):
func (p *parser) parseBacktrace(r *Record) error {
	const want = `"  backtrace:" or "  backtrace (crc …):"`
	l, err := p.body(want)
	if err != nil {
		return err
	}
	p.keep(l)
	if l.text == "  backtrace:" {
		return nil
	}
	crc, ok := strings.CutPrefix(l.text, "  backtrace (crc ")
	crc, end, ok2 := strings.Cut(crc, "):")
	v, err := strconv.ParseUint(crc, 16, 32)
	if !ok || !ok2 || end != "" || err != nil {
		return p.errorf(l.text, "%s", want)
	}
	r.CRC, r.HasCRC = uint32(v), true
	return nil
}

// parseMore parses what a log of 2026 says of equal records.
//
// Example: ... and 7 more object(s) with the same backtrace
func (p *parser) parseMore(r *Record) error {
	l, err := p.optional()
	if err != nil || l == nil {
		return err
	}
	s := strings.TrimLeft(l.text, " ")
	count, ok := strings.CutPrefix(s, "... and ")
	if !ok {
		p.unread()
		return nil
	}
	p.keep(*l)
	count, ok = strings.CutSuffix(count, moreSuffix)
	n, err := strconv.ParseUint(count, 10, 31)
	if !ok || err != nil || n == 0 {
		return p.errorf(l.text, `"... and N%s"`, moreSuffix)
	}
	r.More = int(n)
	return nil
}

// optional returns the record's next line, or nil where the file ends.
func (p *parser) optional() (*line, error) {
	for {
		l, err := p.read()
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if p.foreign(l) {
			continue
		}
		return &l, nil
	}
}
