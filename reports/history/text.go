package history

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// WriteLeaks writes a list of leaks as text, one paragraph each.
func WriteLeaks(w io.Writer, leaks []Leak) error {
	p := printer{w: w}
	for i, l := range leaks {
		if i > 0 {
			p.printf("\n")
		}
		p.printf("%-11s %s%s\n", l.State, l.Title, place(l))
		p.printf("  in         %s on %s (%s)\n", l.Scenario, l.Line, commas(l.Arches))
		p.printf("  first seen %s on %s\n", l.First.Night, release(l.First))
		p.printf("  last seen  %s on %s, %d orphans, %s in all\n", l.Last.Night, release(l.Last), l.Count, humanBytes(l.Bytes))
		if len(l.Elsewhere) > 0 {
			p.printf("  also on    %s\n", commas(l.Elsewhere))
		}
		p.printf("  because    %s\n", l.Why)
		p.printf("  signature  %s\n", l.Signature)
	}
	return p.err
}

// WriteSlower writes a list of slowdowns as a table.
func WriteSlower(w io.Writer, slower []Slowdown) error {
	if len(slower) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "SCENARIO\tKERNEL\tARCH\tSECONDS\tBEFORE\tLIMIT\tMOST IN")
	for _, s := range slower {
		phase := ""
		if s.Phase != "" {
			phase = fmt.Sprintf("%s +%.1f", s.Phase, s.PhaseBy)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%.1f\t%.1f\t%.1f\t%s\n", s.Scenario, s.Line, s.Arch, s.Seconds, s.Before, s.Limit, phase)
	}
	return t.Flush()
}

func place(l Leak) (s string) {
	if l.Module != "" {
		s = " [" + l.Module + "]"
	}
	if l.File != "" {
		s += fmt.Sprintf(" %s:%d", l.File, l.FileLine)
	}
	return s
}

func release(s Sighting) string {
	if len(s.Commit) >= 12 {
		return s.Kernel + " (" + s.Commit[:12] + ")"
	}
	return s.Kernel
}

// printer keeps the first error of many writes.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

func commas(words []string) string { return strings.Join(words, ", ") }
