package render

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/reports"
)

// browser is a page in a headless Chromium that notes whatever goes wrong.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	troubles []string // exceptions, refusals of the policy, requests, dialogs
}

func chromium(t *testing.T) string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("no Chromium: apt-get install chromium")
	}
	t.Skip("no Chromium: apt-get install chromium")
	return ""
}

// open shows a report in a window of that size.
func open(t *testing.T, r reports.Report, width, height int64, opt Options) *browser {
	t.Helper()
	temp := chromedp.Env("TMPDIR=" + t.TempDir()) // where it leaves the socket by which a second one would find it
	flags := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium(t)), chromedp.NoSandbox, chromedp.DisableGPU, temp)
	file := filepath.Join(t.TempDir(), "report.html")
	out, err := os.Create(file)
	require.NoError(t, err)
	opt.Format = "html"
	require.NoError(t, Write(out, r, opt))
	require.NoError(t, out.Close())

	ctx, stopBrowser := chromedp.NewExecAllocator(t.Context(), flags...)
	t.Cleanup(stopBrowser)
	ctx, stopPage := chromedp.NewContext(ctx)
	t.Cleanup(stopPage)
	b := &browser{t: t, ctx: ctx}
	require.NoError(t, chromedp.Listen(ctx, b.listen))
	call(b, network.Enable, network.EnableParams{})
	call(b, cdplog.Enable, cdp.Empty{})
	b.do(chromedp.EmulateViewport(width, height), chromedp.Navigate((&url.URL{Scheme: "file", Path: file}).String()))
	return b
}

func (b *browser) listen(event any) {
	note := func(format string, args ...any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.troubles = append(b.troubles, fmt.Sprintf(format, args...))
	}
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		note("exception: %s", e.ExceptionDetails.Text)
	case *cdplog.EventEntryAdded:
		note("log: %s", e.Entry.Text)
	case *cdppage.EventJavascriptDialogOpening:
		note("dialog: %s", e.Message)
	case *network.EventRequestWillBeSent:
		if u := e.Request.URL; !strings.HasPrefix(u, "file:") && !strings.HasPrefix(u, "data:") {
			note("request: %s", u)
		}
	}
}

func (b *browser) do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Do(b.ctx, actions...))
}

// call sends one command of the DevTools protocol.
func call[P, R any](b *browser, cmd cdp.Command[P, R], params P) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, cmd, params)
	require.NoError(b.t, err)
}

// fine fails where the browser complained or asked for anything.
func (b *browser) fine() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	require.Empty(b.t, b.troubles)
}

// eval evaluates JavaScript in the page.
func eval[T any](b *browser, js string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](js, chromedp.EvalAwaitPromise))
	require.NoError(b.t, err)
	return v
}

func (b *browser) click(selector string) {
	b.t.Helper()
	b.do(chromedp.Click(chromedp.CSS(selector)))
}
func (b *browser) press(keys string) { b.t.Helper(); b.do(chromedp.KeyEvent(keys)) }

// key presses a key as a keyboard does, key and text in one event: a handler
// that refuses the key refuses the text.
func (b *browser) key(key, code, text string, number int64) {
	b.t.Helper()
	p := input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeKeyDown, Key: key, Code: code, Text: text, WindowsVirtualKeyCode: number}
	call(b, input.DispatchKeyEvent, p)
	p.Type, p.Text = input.DispatchKeyEventTypeKeyUp, ""
	call(b, input.DispatchKeyEvent, p)
}

func (b *browser) slash() { b.t.Helper(); b.key("/", "Slash", "/", 191) }
func (b *browser) enter() { b.t.Helper(); b.key("Enter", "Enter", "\r", 13) }

// settle lets the page draw: the search waits for a frame.
func (b *browser) settle() {
	b.t.Helper()
	eval[int](b, `new Promise(f => requestAnimationFrame(() => requestAnimationFrame(() => f(0))))`)
}

// shown lists the titles of the leaks that show.
func (b *browser) shown() []string {
	b.t.Helper()
	b.settle()
	return eval[[]string](b, `[...document.querySelectorAll("details.leak")].filter(d => d.checkVisibility()).map(d => d.querySelector(".title").textContent.replace("memory leak in ", ""))`)
}

func (b *browser) focused() string {
	b.t.Helper()
	return eval[string](b, `document.activeElement.querySelector(".title")?.textContent.replace("memory leak in ", "") ?? document.activeElement.id`)
}

// shoot keeps a picture where KMEMGATE_SHOTS names a folder: to be looked at.
func (b *browser) shoot(name string) {
	b.t.Helper()
	dir := os.Getenv("KMEMGATE_SHOTS")
	if dir == "" {
		return
	}
	b.do(chromedp.EmulateViewport(eval[int64](b, `innerWidth`), eval[int64](b, `document.scrollingElement.scrollHeight`)))
	b.settle()
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	require.NoError(b.t, err)
	require.NoError(b.t, os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644))
}

func TestPageFilters(t *testing.T) {
	b := open(t, sample(), 1200, 900, sampleOptions)
	require.Equal(t, []string{"leaky_setup_ring", "leak_in_probe", "pcpu_user"}, b.shown(), "the new leaks, at first")
	require.Equal(t, "3 of 7 shown", eval[string](b, `document.getElementById("count").textContent`))

	b.click(`.chip[data-status="known"]`)
	require.Equal(t, []string{"leaky_setup_ring", "leak_in_probe", "pcpu_user", "leaky_open"}, b.shown())

	b.do(chromedp.SendKeys(chromedp.CSS("#q"), "really_probe LEAKY.C"))
	require.Equal(t, []string{"leak_in_probe"}, b.shown(), "all words, any case, frames too")
	b.do(chromedp.SendKeys(chromedp.CSS("#q"), " nowhere"))
	require.Empty(t, b.shown())
	require.True(t, eval[bool](b, `document.getElementById("none").checkVisibility()`))
	b.press(kb.Escape)
	require.Len(t, b.shown(), 7, "Escape shows all")

	b.click(`.cell[data-run="1"]`)
	require.Equal(t, []string{"leak_in_probe"}, b.shown(), "the leaks of the run on arm64")
	require.Contains(t, eval[string](b, `document.getElementById("run-filter").textContent`), "6.12.117 arm64 leaky")
	b.click("#run-filter")
	require.Len(t, b.shown(), 7)

	b.click(`.icicle a[data-find="leaky_ioctl"]`)
	require.Equal(t, []string{"leaky_ioctl"}, b.shown(), "a frame of the graph")
	b.fine()
}

func TestPageKeyboard(t *testing.T) {
	b := open(t, sample(), 1200, 900, sampleOptions)
	b.slash()
	require.Equal(t, "q", b.focused())
	b.press("probe")
	require.Equal(t, "probe", eval[string](b, `document.getElementById("q").value`))
	require.Equal(t, []string{"leak_in_probe"}, b.shown())
	b.enter()
	require.Equal(t, "leak_in_probe", b.focused(), "Enter goes to the first that is found")
	require.False(t, eval[bool](b, `document.querySelector("#leak-1").open`), "and does no more")
	b.press(kb.Escape)
	eval[bool](b, `document.activeElement.blur() || true`)
	b.press("j")
	require.Equal(t, "leaky_setup_ring", b.focused())
	b.press("j")
	require.Equal(t, "leak_in_probe", b.focused())
	b.enter()
	b.settle()
	require.True(t, eval[bool](b, `document.querySelector("#leak-1").open`), "Enter unfolds")
	require.True(t, eval[bool](b, `document.querySelector("#leak-1 .record").checkVisibility()`), "Enter unfolds")
	require.Equal(t, "\tf = kzalloc(sizeof(*f), GFP_KERNEL);", eval[string](b, `document.querySelector("#leak-1 .hit").textContent.slice(7)`))
	b.press("k")
	require.Equal(t, "leaky_setup_ring", b.focused())
	b.shoot("keyboard")
	b.fine()
}

func TestPageLinks(t *testing.T) {
	b := open(t, sample(), 1200, 900, sampleOptions)
	require.Equal(t, 43, eval[int](b, `document.querySelectorAll("#run-0 .strip li").length`), "a cell an allocation")
	require.Equal(t, "LL", eval[string](b, `[...document.querySelectorAll("#run-0 .strip li.leak")].map(l => l.textContent).join("")`))
	b.click(`#run-0 .strip li.oops a`)
	require.Contains(t, eval[string](b, `document.querySelector(":target").textContent`), "NULL pointer dereference")

	// A link to a leak that the filter hides shows it.
	b.do(chromedp.SendKeys(chromedp.CSS("#q"), "pcpu"))
	require.Equal(t, []string{"pcpu_user"}, b.shown())
	b.click(`#run-0 .strip li.leak a`)
	b.settle()
	require.True(t, eval[bool](b, `document.querySelector("#leak-0 .stack").checkVisibility()`))
	b.fine()
}

// TestPageWorksWithoutScripts, as where Jenkins forbids them: all is there.
func TestPageWorksWithoutScripts(t *testing.T) {
	b := open(t, sample(), 1200, 900, sampleOptions)
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	b.do(chromedp.Reload())
	b.do(chromedp.Click(chromedp.CSS("#leak-1 summary")), chromedp.WaitVisible(chromedp.CSS("#leak-1 .record")),
		chromedp.WaitVisible(chromedp.CSS("#leak-6")), chromedp.WaitNotVisible(chromedp.CSS(".tools")))
}

// contrast measures text on what is behind it, by the formula of WCAG 2.
const contrast = `(() => {
  const parse = s => s.match(/[\d.]+/g).map(Number);
  const lum = c => { const [r, g, b] = c.map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; };
  const back = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c.slice(0, 3); } return [255, 255, 255]; };
  const poor = [];
  for (const e of document.querySelectorAll("p, li, h1, h2, td a, .tag, .title, .at, .much, .cell *, .chip, pre, pre span, dt, dd, .w a, footer, kbd, th")) {
    if (!e.checkVisibility() || !e.textContent.trim()) continue;
    const a = lum(parse(getComputedStyle(e).color).slice(0, 3)), b = lum(back(e));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) poor.push(e.tagName + "." + e.className + " " + e.textContent.trim().slice(0, 30) + " " + ratio.toFixed(2));
  }
  return [...new Set(poor)];
})()`

func TestPageDarkAndLight(t *testing.T) {
	for scheme, background := range map[string]string{"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 27)"} {
		b := open(t, sample(), 1200, 900, sampleOptions)
		call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
		b.press(kb.Escape)
		b.click("#leak-1 summary")
		b.settle()
		require.Equal(t, background, eval[string](b, `getComputedStyle(document.body).backgroundColor`))
		require.Empty(t, eval[[]string](b, contrast), "%s: text that is hard to read", scheme)
		b.shoot(scheme)
		b.fine()
	}
}

func TestPageOnAPhone(t *testing.T) {
	b := open(t, sample(), 375, 800, sampleOptions)
	b.click("#leak-1 summary")
	b.settle()
	require.LessOrEqual(t, eval[int](b, `document.scrollingElement.scrollWidth`), 375, "nothing hangs over the edge")
	require.Less(t, eval[int](b, `Math.max(...[...document.querySelectorAll("details.leak:not([open])")].map(d => d.offsetHeight))`), 160, "what is folded is small, drawn or not")
	b.shoot("phone")
	b.fine()
}

func TestPageInPrint(t *testing.T) {
	b := open(t, sample(), 1200, 900, sampleOptions)
	eval[bool](b, `dispatchEvent(new Event("beforeprint"))`)
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print"})
	require.Equal(t, 3, eval[int](b, `[...document.querySelectorAll("details.leak .stack")].filter(s => s.checkVisibility()).length`), "the new leaks unfold")
	require.False(t, eval[bool](b, `document.querySelector(".tools").checkVisibility()`))
	require.Equal(t, "visible", eval[string](b, `getComputedStyle(document.querySelector(".scroll")).overflowX`), "a wide grid is not cut")
	require.Equal(t, "exact", eval[string](b, `getComputedStyle(document.querySelector(".cell")).printColorAdjust`), "red stays red")
	call(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print", Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}})
	require.Equal(t, "rgb(255, 255, 255)", eval[string](b, `getComputedStyle(document.body).backgroundColor`), "paper is white")
	b.shoot("print")
	pdf, err := chromedp.Run(b.ctx, chromedp.PrintToPDF())
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(pdf), "%PDF-"))
	eval[bool](b, `dispatchEvent(new Event("afterprint"))`)
	require.Zero(t, eval[int](b, `document.querySelectorAll("details.leak[open]").length`))
}

// pageTimes are the quickest of several loads and searches, in milliseconds.
func pageTimes(t *testing.T, leaks int) (load, search float64) {
	t.Helper()
	b := open(t, crowd(leaks), 1200, 900, Options{})
	const key = `(() => { const q = document.getElementById("q"); q.value = "leak_%d"; const t = performance.now();
q.dispatchEvent(new Event("input")); return new Promise(f => requestAnimationFrame(() => { document.body.offsetHeight; f(performance.now() - t); })); })()`
	load, search = 1e9, 1e9
	for i := range 3 {
		load = min(load, eval[float64](b, `performance.timing.loadEventEnd - performance.timing.navigationStart`))
		for j := range 3 {
			search = min(search, eval[float64](b, fmt.Sprintf(key, leaks-1-i-j)))
			require.Equal(t, []string{fmt.Sprintf("leak_%d", leaks-1-i-j)}, b.shown())
		}
		b.do(chromedp.Reload())
	}
	b.fine()
	return load, search
}

// TestPageOf5000Leaks: ten times the leaks cost about ten times the time, on
// whatever machine; what is done for each pair of leaks would cost a hundred.
func TestPageOf5000Leaks(t *testing.T) {
	const slack = 25
	load, search := pageTimes(t, 500)
	load10, search10 := pageTimes(t, 5000)
	t.Logf("500 leaks: load %.0f ms, search %.1f ms; 5000: %.0f ms, %.1f ms", load, search, load10, search10)
	require.Less(t, load10, slack*load)
	require.Less(t, search10, slack*max(search, 5)) // a frame takes what it takes
}

// TestPageOfHostileNames: nothing runs, nothing is asked for.
func TestPageOfHostileNames(t *testing.T) {
	evil := `"><script>alert(1)</script><img src=https://x.example/ onerror=alert(2)></pre></details>` + "\x1b[31m'`;alert(3)//javascript:alert(4)"
	b := open(t, possessed(evil), 1200, 900, Options{SourceDir: evil})
	b.press(kb.Escape)
	b.settle()
	require.Equal(t, 1, eval[int](b, `document.scripts.length`))
	require.Zero(t, eval[int](b, `document.images.length`))
	require.Contains(t, eval[string](b, `document.querySelector("details.leak .title").textContent`), "<script>alert(1)</script>")
	b.shoot("hostile")
	b.fine()
}

// belowToolbar is how far a thing lies below the toolbar; negative: behind it.
const belowToolbar = `(s => document.querySelector(s).getBoundingClientRect().top - (t => t.bottom * (t.bottom > 0 && t.top < innerHeight))(document.querySelector(".tools").getBoundingClientRect()))`

// What a link leads to is to be seen: the toolbar stays on top, or scrolls away.
func TestPageTargetsAreNotBehindTheToolbar(t *testing.T) {
	for _, width := range []int64{1200, 700, 375} {
		b := open(t, sample(), width, 700, sampleOptions)
		b.press(kb.Escape)
		eval[bool](b, `(location.hash = "#leak-1") !== ""`)
		b.settle()
		require.GreaterOrEqual(t, eval[float64](b, belowToolbar+`("#leak-1 summary")`), 0.0, "%d pixels wide", width)
		require.Less(t, eval[float64](b, `document.querySelector("#leak-1 summary").getBoundingClientRect().bottom`), 700.0)
		b.fine()
	}
}

// A run without leaks has its reason among the runs: its cell leads there.
func TestPageCellsLeadToTheReason(t *testing.T) {
	b := open(t, sample(), 1200, 500, sampleOptions)
	for _, n := range []string{"2", "4", "2"} { // no verdict, clean, and again
		eval[bool](b, `(scrollTo(0, 0), document.querySelector("#run-`+n+`").open = false) || true`)
		b.click(`.cell[data-run="` + n + `"]`)
		b.settle()
		require.True(t, eval[bool](b, `document.querySelector("#run-`+n+`").open`), n)
		top := eval[float64](b, `document.querySelector("#run-`+n+` summary").getBoundingClientRect().top`)
		require.True(t, top >= 0 && top < 500, "run %s at %v", n, top)
		require.Len(t, b.shown(), 3, "and filters nothing")
	}
	require.Contains(t, eval[string](b, `document.querySelector("#run-2 .why").textContent`), "23 of the canary")
	b.fine()
}

func TestPageGridIsEven(t *testing.T) {
	r := sample()
	for i := range r.Runs {
		r.Runs[i].Scenario += " of a long name"
	}
	b := open(t, r, 375, 800, sampleOptions)
	require.Len(t, eval[[]float64](b, `[...new Set([...document.querySelectorAll(".cell")].map(c => c.getBoundingClientRect().width))]`), 1, "cells are of one width")
	require.Equal(t, 1, eval[int](b, `document.querySelector(".grid tbody th").getClientRects().length`))
	require.Less(t, eval[float64](b, `(r => (r.selectNodeContents(document.querySelector(".grid tbody th")), r.getBoundingClientRect().height))(document.createRange())`), 30.0, "a scenario's name is one line")
	eval[bool](b, `(document.querySelector(".scroll").scrollLeft = 200) > 0`)
	b.settle()
	require.GreaterOrEqual(t, eval[float64](b, `document.querySelector(".grid tbody th").getBoundingClientRect().left`), 0.0, "and stays where the columns scroll")
	const room = `(q => { const c = document.createElement("canvas").getContext("2d"), s = getComputedStyle(q); c.font = s.font;
return q.clientWidth - parseFloat(s.paddingLeft) - parseFloat(s.paddingRight) - c.measureText(q.placeholder).width; })(document.getElementById("q"))`
	require.Greater(t, eval[float64](b, room), 0.0, "the search's hint is not cut")
	b.fine()
}

func TestPageChartLabelsStandApart(t *testing.T) {
	for _, cycles := range []int{2, 14, 15, 39, 120} {
		r := sample()
		r.Runs[0].Cycles = nil
		for n := range cycles {
			r.Runs[0].Cycles = append(r.Runs[0].Cycles, reports.CycleResult{N: n + 1, Orphans: n * 37, Bytes: int64(n) * 64})
		}
		b := open(t, r, 1200, 900, sampleOptions)
		const overlaps = `(() => { const all = [...document.querySelectorAll("#run-0 .chart text")].map(t => [t.textContent, t.getBoundingClientRect()]).filter(t => t[0]);
return all.flatMap(([a, x], i) => all.slice(i + 1).filter(([, y]) => x.left < y.right && y.left < x.right && x.top < y.bottom && y.top < x.bottom).map(([b]) => a + " on " + b)); })()`
		require.Greater(t, eval[int](b, `document.querySelectorAll("#run-0 .chart text").length`), 2)
		require.Empty(t, eval[[]string](b, overlaps), "%d cycles", cycles)
		b.fine()
	}
}

// What failed is told by colour and by letter, each kind by its own.
func TestPageStripTellsKindsApart(t *testing.T) {
	r := sample()
	r.Runs[0].Walk.Findings = nil
	for n, kind := range findingKinds {
		r.Runs[0].Walk.Findings = append(r.Runs[0].Walk.Findings, reports.Finding{N: n + 1, Kind: kind})
	}
	b := open(t, r, 1200, 900, sampleOptions)
	const apart = `(f => new Set([...document.querySelectorAll("#run-0 .legend .w")].filter(w => w.textContent).map(f)).size)`
	require.Equal(t, len(findingKinds), eval[int](b, apart+`(w => getComputedStyle(w).backgroundColor)`))
	require.Equal(t, len(findingKinds), eval[int](b, apart+`(w => w.textContent)`))
	require.Empty(t, eval[[]string](b, contrast))
	b.fine()
}

func TestPageSaysHowToReproduceEveryLeak(t *testing.T) {
	b := open(t, sample(), 1200, 900, sampleOptions)
	require.Empty(t, eval[[]string](b, `[...document.querySelectorAll("details.leak")].filter(d => !d.textContent.includes("kmemgate run --kernel 6.12.117 --arch x86_64")).map(d => d.id)`))
	require.Equal(t, 2, eval[int](b, `document.querySelector("#leak-1").textContent.split("kmemgate run --kernel").length - 1`), "a line a run that shows it")
}
