package render

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"

	"github.com/kmemgate/kmemgate/reports"
)

// pageElements are all that the page is made of, the chart's included.
var pageElements = "html head meta title link style body script a header p h1 h2 h3 main section ul ol li div table thead tbody tr th td br small b span " +
	"svg rect text path circle figure details summary pre code input button output kbd dl dt dd footer"

var pageAttributes = "lang charset http-equiv content name rel href class id aria-label aria-labelledby aria-live aria-pressed role tabindex scope hidden open title " +
	"data-run data-runs data-find data-q data-status data-fails type placeholder autocomplete spellcheck " +
	"x y cx cy r d width height viewbox xmlns xmlns:xlink style"

// checkHTML: no name becomes an element, an attribute, a script or a link.
func checkHTML(t *testing.T, out []byte) {
	t.Helper()
	elements, attributes := strings.Fields(pageElements), strings.Fields(pageAttributes)
	scripts := 0
	for z := html.NewTokenizer(bytes.NewReader(out)); ; {
		kind := z.Next()
		if kind == html.ErrorToken {
			break
		}
		token := z.Token()
		require.NotEqual(t, html.CommentToken, kind, token)
		if kind != html.StartTagToken && kind != html.SelfClosingTagToken {
			continue
		}
		require.Contains(t, elements, token.Data)
		for _, a := range token.Attr {
			require.Contains(t, attributes, strings.ToLower(a.Key), "%s", token)
			if a.Key == "href" {
				require.Regexp(t, `^(#[a-z0-9-]+|data:,|`+homepage+`)$`, a.Val)
			}
			if a.Key == "style" {
				require.Regexp(t, `^[-a-z0-9:;(), .']*$`, strings.ToLower(a.Val))
			}
		}
		if token.Data == "script" {
			scripts++
			z.Next()
			require.Equal(t, pageJS, string(z.Raw()), "the one script is ours, and the policy's hash is of it")
		}
	}
	require.Equal(t, 1, scripts)
}

func TestIcicle(t *testing.T) {
	g := newIcicle([]reports.Run{{Leaks: []reports.Leak{
		{Status: reports.New, Bytes: 300, Count: 3, Frames: []reports.Frame{{Function: "kmalloc"}, {Function: "a", Module: "m"}, {Function: "init"}}},
		{Status: reports.Known, Bytes: 100, Count: 1, Frames: []reports.Frame{{Function: "kmalloc"}, {Function: "b", Module: "m"}, {Function: "init"}}},
		{Status: reports.Noise, Bytes: 999, Count: 1, Frames: []reports.Frame{{Function: "kmalloc"}}},
	}}})
	require.Equal(t, "4 objects, 400 bytes", g.Total)
	require.Equal(t, 4*icicleRow, g.Height, "all, init, a and b, kmalloc")
	at := map[string][]string{}
	for _, b := range g.Boxes {
		at[b.Name] = append(at[b.Name], b.X+"+"+b.Width)
	}
	require.Equal(t, map[string][]string{
		"all": {"0.000+100.000"}, "init": {"0.000+100.000"},
		"a [m]": {"0.000+75.000"}, "b [m]": {"75.000+25.000"},
		"kmalloc": {"0.000+75.000", "75.000+25.000"},
	}, at)
}

func TestWalkStripShowsTheWorst(t *testing.T) {
	v := newView(sample(), Options{})
	walk := v.pageWalk(0, reports.Run{Walk: &reports.WalkResult{Allocations: 4, Failed: 3, Findings: []reports.Finding{
		{N: 2, Kind: "leak", Signature: ringLeak().Signature}, {N: 2, Kind: "oops"}, {N: 3, Kind: "leak", Signature: ringLeak().Signature},
		{N: 99, Kind: "hang"}, {N: -1, Kind: "hang"}, {N: 1, Kind: "nonsense"},
	}}})
	var got []string
	for _, c := range walk.Cells {
		got = append(got, c.Class+c.Letter+c.Href)
	}
	require.Equal(t, []string{"fine", "oopsO#finding-0-1", "leakL#leak-0", "untried"}, got)
	require.Len(t, walk.Findings, 4, "those out of range are told in words")
}

// TestWalkWithoutFindings: that nothing came of a walk is said only where that is so.
func TestWalkWithoutFindings(t *testing.T) {
	walk := &reports.WalkResult{Allocations: 3, Failed: 3}
	known := reports.Leak{Status: reports.Known, Walk: []int{2}}
	more := reports.Leak{Status: reports.New, Walk: []int{3}}
	for want, run := range map[string]reports.Run{
		"3 of 3 allocations failed once, and nothing came of it":                      {Verdict: reports.Clean, Walk: walk},
		"3 of 3 allocations failed once, and nothing new came of it":                  {Verdict: reports.Clean, Walk: walk, Leaks: []reports.Leak{known}},
		"3 of 3 allocations failed once, and more came of it than the baseline knows": {Verdict: reports.Leaks, Walk: walk, Leaks: []reports.Leak{known, more}},
		"3 of 3 allocations failed once, and the walk is not complete":                {Verdict: reports.None, Walk: walk},
	} {
		require.Equal(t, want, walkSummary(run))
	}
}

func TestCycleChartTakesAnyNumber(t *testing.T) {
	for _, orphans := range []int{0, -5, 1 << 60} {
		svg := string(cycleChart([]reports.CycleResult{{N: 1, Orphans: orphans}, {N: 2, Orphans: 1}}))
		require.Contains(t, svg, "var(--red)")
		require.NotContains(t, svg, "NaN")
		require.NotContains(t, svg, "rgb(")
	}
}
