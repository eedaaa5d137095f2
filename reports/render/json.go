package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"unicode"
	"unicode/utf8"

	"github.com/kmemgate/kmemgate/reports"
)

// writeJSON writes report.json. The strings are those of the report, not the
// cleaned ones: a program must read back what was there. What a terminal or a
// browser would obey is written as \u escapes, which JSON reads back as is.
func writeJSON(buf *bytes.Buffer, v *view) error {
	text, err := json.MarshalIndent(complete(v.raw), "", "  ")
	if err != nil {
		return err
	}
	buf.Write(escapeJSON(text))
	buf.WriteByte('\n')
	return nil
}

// escapeJSON works on the text as a whole: outside of strings JSON is ASCII,
// and holds no "##[".
func escapeJSON(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		switch {
		case bytes.HasPrefix(text[i:], []byte("##[")): // see disarm
			out = append(out, `#\u0023[`...)
			n = 3
		case r > '~' && r <= 0xffff && !unicode.IsPrint(r) || r == 0x7f:
			out = fmt.Appendf(out, `\u%04x`, r)
		case r > 0xffff && !unicode.IsPrint(r):
			r -= 0x10000 // a surrogate pair, RFC 8259 section 7
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			out = append(out, text[i:i+n]...)
		}
		i += n
	}
	return out
}

// complete puts [] where the schema wants a list and Go has none, and names
// the schema.
func complete(r reports.Report) reports.Report {
	r.Schema = reports.Schema
	r.Runs = append([]reports.Run{}, r.Runs...)
	for i := range r.Runs {
		run := &r.Runs[i]
		run.Leaks = append([]reports.Leak{}, run.Leaks...)
		for j := range run.Leaks {
			l := &run.Leaks[j]
			l.Frames = append([]reports.Frame{}, l.Frames...)
			l.Records = append([]string{}, l.Records...)
		}
		if run.Walk != nil {
			walk := *run.Walk
			walk.Findings = append([]reports.Finding{}, slices.Clone(walk.Findings)...)
			run.Walk = &walk
		}
	}
	return r
}
