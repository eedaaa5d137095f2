package kernels

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"sync"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/schollz/progressbar/v3"
)

// progress tells how far a build is: a bar on a terminal, a line a minute
// elsewhere.
type progress struct {
	b        *Builder
	what     string
	expected int  // 0: unknown
	sure     bool // counted on this machine, not a guess
	start    time.Time
	every    time.Duration

	mu    sync.Mutex
	first int // objects that an interrupted build left
	done  int // all objects, those included
	told  time.Time
	bar   *progressbar.ProgressBar // nil: not a terminal
}

func newProgress(b *Builder, what string, expected int, sure bool, first int) *progress {
	p := &progress{b: b, what: what, expected: expected, sure: sure, start: time.Now(), every: time.Minute, first: first, done: first}
	p.told = p.start
	if Terminal(b.Log) {
		p.bar = NewBar(b.Log, what, "obj", expected, 200*time.Millisecond)
		_ = p.bar.Set(first)
	}
	return p
}

// Terminal tells whether a person sees w, on a screen that can draw a bar.
func Terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd()) && os.Getenv("TERM") != "dumb"
}

// NewBar draws a bar for so many things of a unit, 0 where that is not known yet,
// and no colours with NO_COLOR set (https://no-color.org). It is drawn no oftener
// than every pause.
func NewBar(w io.Writer, what, unit string, expected int, pause time.Duration) *progressbar.ProgressBar {
	max := int64(expected)
	if expected == 0 {
		max = -1 // a spinner with a count
	}
	theme, colour := progressbar.ThemeASCII, os.Getenv("NO_COLOR") == ""
	if colour {
		what = "[cyan]" + what + "[reset]"
	}
	return progressbar.NewOptions64(max, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(what),
		progressbar.OptionEnableColorCodes(colour), progressbar.OptionSetTheme(theme), progressbar.OptionShowCount(),
		progressbar.OptionSetItsString(unit), progressbar.OptionSetPredictTime(expected > 0), progressbar.OptionThrottle(pause),
		progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(30))
}

// Example: "  CC      mm/kmemleak.o", "  LD [M]  samples/kmemleak/kmemleak-test.ko", "  AS      arch/x86/lib/memset_64.o"
var objectLine = regexp.MustCompile(`^\s+(CC|AS|CPP|LD|AR|HOSTCC)(\s+\[M\])?\s+\S+\.o$`)

// line takes one line of make's output.
func (p *progress) line(text string) {
	if !objectLine.MatchString(text) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done++
	if p.bar != nil {
		p.drawBar()
		return
	}
	if now := time.Now(); now.Sub(p.told) >= p.every {
		p.told = now
		p.b.logf("%s", p.status(now))
	}
}

// drawBar moves the bar, and its end where there is more than was expected.
func (p *progress) drawBar() {
	if p.expected > 0 && p.done >= p.expected {
		p.bar.ChangeMax(p.done + 1)
	}
	_ = p.bar.Set(p.done)
}

// status is one line of a log:
//
//	kernel 6.12.117 x86_64: 640 of about 1000 objects after 2m0s, about 1m10s left
func (p *progress) status(now time.Time) string {
	took := now.Sub(p.start).Round(time.Second)
	if p.expected == 0 {
		return fmt.Sprintf("%s: %d objects after %s; how many there will be is not known yet", p.what, p.done, took)
	}
	about := "about "
	if p.sure {
		about = ""
	}
	s := fmt.Sprintf("%s: %d of %s%d objects after %s", p.what, p.done, about, max(p.expected, p.done), took)
	if made := p.done - p.first; made > 0 && p.done < p.expected {
		left := now.Sub(p.start) / time.Duration(made) * time.Duration(p.expected-p.done)
		s += fmt.Sprintf(", about %s left", left.Round(10*time.Second))
	}
	return s
}

func (p *progress) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}

func (p *progress) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}

// countObjects counts what an interrupted build left behind.
func countObjects(build string) int {
	files, err := findFiles(build, ".o")
	if err != nil {
		return 0 // no build tree yet
	}
	return len(files)
}

// expected is how many objects the build will have: as many as the last one
// of the architecture, of the same version where there is one, else a guess.
func (k *kernelBuild) expected() (n int, sure bool) {
	n = k.chain.facts.objects
	entries, err := k.b.cache().List() // the last used comes last
	if err != nil {
		return n, false
	}
	for _, e := range entries {
		if e.Kind != KindKernels || !e.Complete {
			continue
		}
		info, err := readKernelInfo(e.Path)
		if err != nil || info.Arch != k.arch || info.Objects == 0 || sure && info.SourceKey != k.src.key {
			continue
		}
		n, sure = info.Objects, info.SourceKey == k.src.key
	}
	return n, sure
}
