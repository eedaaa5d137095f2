package render

import (
	"fmt"
	"reflect"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kmemgate/kmemgate/reports"
)

const (
	maxLine  = 2000      // runes of a name or sentence; more is noise
	maxBlock = 256 << 10 // bytes of a record or an oops
)

// clean makes one harmless line of s. What a terminal would obey or a reader
// would not see (control characters, broken UTF-8, bidi overrides, zero-width
// characters) is written out as an escape, so that it is visible and inert.
func clean(s string) string {
	s = strings.ReplaceAll(s, "\t", " ")
	return cut(disarm(escape(s, "")), maxLine)
}

// Printable makes text of a guest harmless to a terminal, line by line.
func Printable(text string) string { return cleanBlock(text) }

// cleanBlock is clean for text of several lines.
func cleanBlock(s string) string {
	if len(s) > maxBlock {
		s = s[:maxBlock] + "…"
	}
	lines := strings.Split(strings.ReplaceAll(s, "\r\n", "\n"), "\n")
	for i, line := range lines {
		lines[i] = cut(disarm(escape(line, "\t")), maxLine)
	}
	return strings.Join(lines, "\n")
}

// escape writes out all that is not printable, but for the runes in keep.
func escape(s, keep string) string {
	if isPlain(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsPrint(r) || strings.ContainsRune(keep, r):
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		i += n
	}
	return b.String()
}

func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// disarm keeps a line from being a command to the GitHub runner, which obeys
// "::" at the start of a line, after white space, and "##[" anywhere in it
// (actions/runner, src/Runner.Common/ActionCommand.cs).
func disarm(line string) string {
	line = strings.ReplaceAll(line, "##[", `#\#[`)
	if text := strings.TrimLeftFunc(line, unicode.IsSpace); strings.HasPrefix(text, "::") {
		line = line[:len(line)-len(text)] + `\` + text
	}
	return line
}

func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	n := 0
	for i := range s {
		if n++; n > most {
			return s[:i] + "…"
		}
	}
	return s
}

// blocks are the fields that may hold several lines.
var blocks = map[string]bool{
	"Leak.Records": true,
	"Finding.Text": true,
	"Run.Detail":   true,
}

// sources are the fields of one line whose tabs are kept.
var sources = map[string]bool{"SourceLine.Text": true}

// cleanReport is a deep copy of r with every string cleaned. It goes by
// reflection so that no field, present or to come, is forgotten.
func cleanReport(r reports.Report) reports.Report {
	return cleanValue(reflect.ValueOf(r), "").Interface().(reports.Report)
}

func cleanValue(v reflect.Value, field string) reflect.Value {
	out := reflect.New(v.Type()).Elem()
	switch v.Kind() {
	case reflect.String:
		out.SetString(cleanField(v.String(), field))
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() { // no other reaches a format
				out.Field(i).Set(cleanValue(v.Field(i), v.Type().Name()+"."+f.Name))
			}
		}
	case reflect.Slice:
		if v.IsNil() {
			return v
		}
		out = reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		for i := range v.Len() {
			out.Index(i).Set(cleanValue(v.Index(i), field))
		}
	case reflect.Map:
		if v.IsNil() {
			return v
		}
		out = reflect.MakeMapWithSize(v.Type(), v.Len())
		for it := v.MapRange(); it.Next(); {
			out.SetMapIndex(cleanValue(it.Key(), field), cleanValue(it.Value(), field))
		}
	case reflect.Pointer:
		if v.IsNil() {
			return v
		}
		out = reflect.New(v.Type().Elem())
		out.Elem().Set(cleanValue(v.Elem(), field))
	default:
		return v
	}
	return out
}

func cleanField(s, field string) string {
	switch {
	case blocks[field]:
		return cleanBlock(s)
	case sources[field]:
		return cut(disarm(escape(s, "\t")), maxLine)
	}
	return clean(s)
}
