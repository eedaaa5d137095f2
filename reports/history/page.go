package history

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"time"

	"github.com/kmemgate/kmemgate/reports"
)

// Page is what the HTML page shows, and what `history html --format json`
// prints.
type Page struct {
	Made   time.Time  `json:"made"`
	Heat   Heat       `json:"heat"`
	Trends []Trend    `json:"trends"`
	Leaks  []Leak     `json:"leaks"`
	Slower []Slowdown `json:"slower"`
}

// Page gathers the page of the last nights.
func (h *History) Page(ctx context.Context, q Query, now time.Time) (p Page, err error) {
	p.Made = now.UTC().Truncate(time.Second)
	if p.Heat, err = h.Heat(ctx, q); err != nil {
		return p, err
	}
	if len(p.Heat.Nights) == 0 {
		return p, fmt.Errorf("%w: it is empty", ErrNoNight)
	}
	p.Trends = p.Heat.Trends()
	if p.Leaks, err = h.Leaks(ctx, q); err != nil {
		return p, err
	}
	p.Slower, err = h.Slower(ctx, "", q)
	return p, err
}

// LastNight is the label of the last night on the page.
func (p Page) LastNight() string { return p.Heat.Nights[len(p.Heat.Nights)-1].Label }

//go:embed page.tmpl
var pageText string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"mark": mark, "chart": chart, "bytes": humanBytes, "date": func(t time.Time) string { return t.Format("2006-01-02 15:04 UTC") },
	"count": func(leaks []Leak, s State) (n int) {
		for _, l := range leaks {
			if l.State == s {
				n++
			}
		}
		return n
	},
}).Parse(pageText))

// WriteHTML writes the page: one file that needs no other, no script and no
// network. html/template escapes every name for the place it stands in.
func (p Page) WriteHTML(w io.Writer) error {
	if err := page.Execute(w, p); err != nil {
		return fmt.Errorf("history page: %w", err)
	}
	return nil
}

// mark is what a cell of the map shows: a sign as well as a colour, for those
// who cannot tell the colours apart, or print.
func mark(c HeatCell) string {
	switch c.Verdict {
	case reports.Clean:
		return "·"
	case reports.Leaks:
		if c.Orphans > 99 {
			return "99+"
		} else if c.Orphans == 0 {
			return "!"
		}
		return fmt.Sprint(c.Orphans)
	case reports.None:
		return "?"
	case reports.Skipped:
		return "–"
	}
	return ""
}

// curve is a trend as the template draws it, in a box of 600 × 140 units.
type curve struct {
	Name, Most, Line string
	Points           []point
	First, Final     string
}

type point struct {
	X, Y  string
	Title string
}

// chart lays out a trend. The axis begins at zero: a trend that only looks
// steep is no news.
func chart(t Trend, nights []Night) curve {
	most := 0.0
	for _, v := range t.Values {
		most = max(most, v)
	}
	c := curve{Name: t.Name, Most: unit(most, t.Unit), First: nights[0].Label, Final: nights[len(nights)-1].Label}
	for i, v := range t.Values {
		x := 10 + 580*float64(i)/float64(max(1, len(t.Values)-1))
		y := 120 - 100*v/cmp.Or(most, 1)
		p := point{fmt.Sprintf("%.1f", x), fmt.Sprintf("%.1f", y), nights[i].Label + ": " + unit(v, t.Unit)}
		c.Points = append(c.Points, p)
		c.Line += p.X + "," + p.Y + " "
	}
	return c
}

func unit(v float64, unit string) string {
	if unit == "bytes" {
		return humanBytes(int64(v))
	}
	return fmt.Sprintf("%.1f s", v)
}

func humanBytes(n int64) string {
	switch {
	case n >= 10<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 10<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}
