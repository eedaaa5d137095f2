package render

import "github.com/kmemgate/kmemgate/reports"

// palette paints text by ANSI codes, or not at all.
type palette struct{ on bool }

func newPalette(on bool) palette { return palette{on} }

func (p palette) ansi(code, s string) string {
	if !p.on || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (p palette) bold(s string) string   { return p.ansi("1", s) }
func (p palette) dim(s string) string    { return p.ansi("2", s) }
func (p palette) red(s string) string    { return p.ansi("1;31", s) }
func (p palette) green(s string) string  { return p.ansi("1;32", s) }
func (p palette) yellow(s string) string { return p.ansi("1;33", s) }
func (p palette) cyan(s string) string   { return p.ansi("36", s) }

// verdict: no verdict is no pass, so it is never green.
func (p palette) verdict(v reports.Verdict, s string) string {
	switch v {
	case reports.Clean:
		return p.green(s)
	case reports.Leaks:
		return p.red(s)
	}
	return p.yellow(s)
}

func (p palette) status(st reports.Status, s string) string {
	if st == reports.New {
		return p.red(s)
	}
	return p.dim(s)
}
