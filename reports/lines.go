package reports

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// firstChunk is how much is read first; each read doubles it up to maxChunk, so
// that small texts cost little.
const (
	firstChunk = 8 << 10
	maxChunk   = 256 << 10
)

// lineReader cuts a text into lines without copying each: lines are parts of
// blocks, and all from a mark on lie in one block.
type lineReader struct {
	in    io.Reader
	name  string
	line  int    // number of the line that next returned last
	buf   string // the block
	start int    // of that line in buf
	pos   int    // behind it
	mark  int    // what is before it may go
	eof   bool
	chunk []byte
}

// next returns a line without its newline, and whether it had one. io.EOF
// follows the last line.
func (r *lineReader) next() (text string, whole bool, err error) {
	for {
		rest := r.buf[r.pos:]
		end := strings.IndexByte(rest, '\n')
		if end > maxLine || end < 0 && len(rest) > maxLine {
			return "", false, &ParseError{r.name, r.line + 1, rest, fmt.Sprintf("a line of at most %d bytes", maxLine)}
		}
		if end >= 0 {
			r.line, r.start, r.pos = r.line+1, r.pos, r.pos+end+1
			return rest[:end], true, nil
		}
		if !r.eof {
			if err := r.fill(); err != nil {
				return "", false, err
			}
			continue
		}
		if rest == "" {
			return "", false, io.EOF
		}
		r.line, r.start, r.pos = r.line+1, r.pos, len(r.buf)
		return rest, false, nil
	}
}

// unread makes next return the last line again.
func (r *lineReader) unread() { r.line, r.pos = r.line-1, r.start }

// fill begins a new block with what the old one has from the mark on.
func (r *lineReader) fill() error {
	if len(r.chunk) < maxChunk {
		r.chunk = make([]byte, max(firstChunk, 2*len(r.chunk)))
	}
	n, err := io.ReadFull(r.in, r.chunk)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		r.eof = true
	} else if err != nil {
		return fmt.Errorf("read %s: %w", r.name, err)
	}
	var b strings.Builder
	b.Grow(len(r.buf) - r.mark + n)
	b.WriteString(r.buf[r.mark:])
	b.Write(r.chunk[:n])
	r.buf, r.start, r.pos, r.mark = b.String(), r.start-r.mark, r.pos-r.mark, 0
	return nil
}
