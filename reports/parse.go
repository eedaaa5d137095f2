package reports

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
)

// Format says what kind of text is parsed.
type Format int

// The formats.
const (
	// FormatAuto decides line by line: a line with a log's marks (level,
	// time stamp, "kmemleak: ") is part of a log, and from the first of them
	// on foreign lines are passed over. Without any, every line must parse.
	FormatAuto Format = iota
	// FormatFile is the debugfs file: every line must parse, and the last one
	// must be whole.
	FormatFile
	// FormatLog is a kernel log: lines that are not kmemleak's are passed over.
	FormatLog
)

// What a guest may make the parser hold. Lines of the kernel are far shorter.
const (
	maxLine   = 4096
	maxFrames = 64 // the kernel keeps 16 (MAX_TRACE)
	maxDump   = 256
	maxComm   = 64 // the kernel keeps 16 (TASK_COMM_LEN)
	dumpRow   = 16

	// maxInterned bounds the cache of backtraces.
	maxInterned = 1 << 12
)

// ParseError tells what stands where something else was wanted.
type ParseError struct {
	Name string // of the file
	Line int
	Text string // the line
	Want string
}

func (e *ParseError) Error() string {
	return fmt.Sprintf("%s:%d: %q: want %s", e.Name, e.Line, clip(e.Text), e.Want)
}

func clip(s string) string {
	if len(s) > 160 {
		return s[:160] + "…"
	}
	return s
}

// ParseKmemleak reads all records of a debugfs file or of a kernel log.
func ParseKmemleak(r io.Reader, name string) ([]Record, error) {
	return parseAll(r, name, FormatAuto)
}

func parseAll(r io.Reader, name string, format Format) ([]Record, error) {
	var out []Record
	for rec, err := range Records(r, name, format) {
		if err != nil {
			return nil, err
		}
		out = append(out, rec)
	}
	return out, nil
}

// Records yields one record after the other. An error ends the sequence: it is
// a *ParseError, or what the reader returned.
func Records(r io.Reader, name string, format Format) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		p := &parser{
			lineReader: lineReader{in: r, name: name}, format: format,
			inLog: format == FormatLog, traces: map[string][]RawFrame{},
		}
		for {
			rec, err := p.record()
			if errors.Is(err, io.EOF) {
				return
			}
			if !yield(rec, err) || err != nil {
				return
			}
		}
	}
}

// parser reads lines with one line of look-ahead.
type parser struct {
	lineReader
	format Format

	inLog   bool     // a log line was seen: foreign lines are passed over
	begun   bool     // a record was seen: body lines no longer stem from a cut log
	prefix  bool     // the record being read has "kmemleak: " before its lines
	stamped bool     // … and a time stamp
	plain   bool     // its lines stand as they are, one after the other
	lines   []string // its lines
	trace   []byte   // its backtrace
	traces  map[string][]RawFrame
}

// line is one line without the marks of a log.
type line struct {
	text   string
	log    bool // it had a level or a time stamp
	prefix bool // it had "kmemleak: "
	plain  bool // nothing was taken off
}

// read returns the next line, io.EOF after the last.
func (p *parser) read() (line, error) {
	text, whole, err := p.next()
	if err != nil {
		return line{}, err
	}
	if p.format == FormatFile {
		if !whole {
			return line{}, p.errorf(text, "a newline at the end: the text is cut")
		}
		return line{text: text, plain: true}, nil
	}
	bare := strings.TrimSuffix(text, "\r") // a serial console's
	l := unlog(bare)
	l.plain = whole && !l.log && !l.prefix && len(bare) == len(text)
	p.inLog = p.inLog || l.log || l.prefix || isLogStart(text)
	return l, nil
}

func (p *parser) errorf(text, want string, args ...any) error {
	return &ParseError{p.name, p.line, text, fmt.Sprintf(want, args...)}
}

// isLogStart tells the first lines of a kernel log that carries no time stamps
// (dmesg -t) from those of a debugfs file.
func isLogStart(s string) bool {
	return strings.HasPrefix(s, "Linux version ") || strings.HasPrefix(s, "Booting Linux on ")
}

// unlog takes off what a log puts before a line.
//
// Example: <4>[   12.345678][   T71] kmemleak:   comm "insmod", pid 71, jiffies 4294895123
func unlog(s string) line {
	l := line{text: s}
	if len(s) > 2 && s[0] == '<' {
		if end := strings.IndexByte(s[:min(len(s), 6)], '>'); end > 1 && isDigits(s[1:end]) {
			l.text, l.log = s[end+1:], true
		}
	}
	for {
		rest, ok := cutStamp(l.text)
		if !ok {
			break
		}
		l.text, l.log = rest, true
	}
	l.text, l.prefix = strings.CutPrefix(l.text, "kmemleak: ")
	if !l.prefix && !l.log {
		l.text = s
	}
	return l
}

// cutStamp takes off "[   12.345678] ", "[   12.345678]" before a caller, or
// the caller itself: "[   T71] ", "[   C0] ". Frames begin with "[<" and stay.
func cutStamp(s string) (string, bool) {
	if len(s) < 3 || s[0] != '[' || s[1] == '<' {
		return s, false
	}
	end := strings.IndexByte(s[:min(len(s), 40)], ']')
	if end < 0 {
		return s, false
	}
	in := strings.TrimLeft(s[1:end], " ")
	if len(in) > 1 && (in[0] == 'T' || in[0] == 'C') {
		in = in[1:]
	} else if sec, frac, ok := strings.Cut(in, "."); ok && isDigits(sec) {
		in = frac
	} else {
		return s, false
	}
	if !isDigits(in) {
		return s, false
	}
	return strings.TrimPrefix(s[end+1:], " "), true
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return len(s) > 0
}
