package render

import (
	"html/template"
	"strconv"
	"strings"

	"github.com/go-analyze/charts"

	"github.com/kmemgate/kmemgate/reports"
)

const (
	chartPoints = 500
	chartMost   = 1 << 40 // orphans; what is above is not a count
)

// chartColors stand for the page's own, which the chart takes on, dark and
// light: the library wants numbers, the style sheet has variables.
var chartColors = map[charts.Color]string{
	{R: 1, G: 1, B: 1, A: 255}: "var(--dim)",
	{R: 2, G: 2, B: 2, A: 255}: "var(--line)",
	{R: 3, G: 3, B: 3, A: 255}: "var(--red)",
}

var chartTheme = charts.MakeTheme(charts.ThemeOption{
	AxisStrokeColor: chartColor(2), AxisSplitLineColor: chartColor(2), TextColor: chartColor(1), TextColorXAxis: chartColor(1), TextColorYAxis: chartColor(1),
	TextColorTitle: chartColor(1), TextColorLabel: chartColor(1), TextColorLegend: chartColor(1), TextColorMark: chartColor(1),
	BackgroundColor: charts.ColorTransparent, SeriesColors: []charts.Color{chartColor(3)},
})

func chartColor(n uint8) charts.Color { return charts.Color{R: n, G: n, B: n, A: 255} }

// everyNth leaves every n-th label, from the first on, so that at most some
// fourteen stand below the chart. The library itself always names the last,
// which then stands on the one before.
func everyNth(labels []string) []string {
	n := (len(labels) + 13) / 14
	for i := range labels {
		if i%n != 0 {
			labels[i] = ""
		}
	}
	return labels
}

// cycleChart draws orphans over cycles. It is made of numbers alone, so that
// nothing in it needs quoting.
func cycleChart(cycles []reports.CycleResult) template.HTML {
	cycles = cycles[:min(len(cycles), chartPoints)]
	var orphans []float64
	var labels []string
	for _, c := range cycles {
		orphans = append(orphans, float64(min(max(c.Orphans, 0), chartMost)))
		labels = append(labels, strconv.Itoa(c.N))
	}
	opt := charts.NewLineChartOptionWithData([][]float64{orphans})
	opt.Theme = chartTheme
	opt.XAxis.Labels = everyNth(labels)
	opt.XAxis.LabelCount = len(labels)
	opt.YAxis = []charts.YAxisOption{{Min: new(0.0)}}
	opt.ValueFormatter = func(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }
	p := charts.NewPainter(charts.PainterOptions{OutputFormat: charts.ChartOutputSVG, Width: 640, Height: 220, Theme: chartTheme})
	if err := p.LineChart(opt); err != nil {
		return "" // the numbers stand in words beside it
	}
	svg, err := p.Bytes()
	if err != nil {
		return ""
	}
	text := string(svg)
	for color, variable := range chartColors {
		text = strings.ReplaceAll(text, color.String(), variable)
	}
	return template.HTML(text)
}
