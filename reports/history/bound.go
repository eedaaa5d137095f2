package history

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kmemgate/kmemgate/reports"
)

// What a report may hold. The module under test owns the guest's kernel and
// with it every name in a report, and the history lives long.
const (
	maxRuns   = 100_000
	maxLeaks  = 10_000
	maxName   = 200
	maxText   = 1000
	maxRecord = 8 << 10
	maxFrames = 16
	maxCount  = 1 << 40
)

// ErrReport says that a report is none that a kmemgate writes.
var ErrReport = errors.New("not a report of kmemgate")

// checkRun refuses what no kmemgate writes.
func checkRun(r reports.Run) error {
	if r.Kernel == "" || r.Arch == "" || r.Scenario == "" {
		return fmt.Errorf("kernel %q, arch %q, scenario %q: want all three", r.Kernel, r.Arch, r.Scenario)
	}
	switch r.Verdict {
	case reports.Clean, reports.Leaks, reports.None, reports.Skipped:
	default:
		return fmt.Errorf("unknown verdict %.40q", r.Verdict)
	}
	if len(r.Leaks) > maxLeaks {
		return fmt.Errorf("%d leaks, limit %d", len(r.Leaks), maxLeaks)
	}
	for _, l := range r.Leaks {
		if err := checkLeak(l); err != nil {
			return err
		}
	}
	for phase, s := range r.Timings {
		if math.IsNaN(s) || s < 0 || s > 1e9 {
			return fmt.Errorf("time %.40q: %v seconds", phase, s)
		}
	}
	return nil
}

func checkLeak(l reports.Leak) error {
	if l.Signature == "" {
		return fmt.Errorf("leak %.80q has no signature", l.Title)
	}
	if rank(l.Status) < 0 {
		return fmt.Errorf("leak %.80q: unknown status %.40q", l.Title, l.Status)
	}
	for _, n := range []int64{int64(l.Count), l.Bytes, l.Size, int64(l.Line)} {
		if n < 0 || n > maxCount {
			return fmt.Errorf("leak %.80q: number %d: want 0 to %d", l.Title, n, int64(maxCount))
		}
	}
	return nil
}

// name makes one harmless line of at most maxName bytes: what a terminal would
// obey or a reader would not see is written out as an escape.
func name(s string) string { return line(s, maxName) }

func line(s string, limit int) string {
	s = cut(s, limit)
	var b strings.Builder
	for i, r := range s {
		if _, n := utf8.DecodeRuneInString(s[i:]); r == utf8.RuneError && n == 1 {
			fmt.Fprintf(&b, `\x%02x`, s[i])
		} else if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// block is line for text of several lines.
func block(s string, limit int) string {
	lines := strings.Split(cut(s, limit), "\n")
	for i := range lines {
		lines[i] = line(strings.ReplaceAll(lines[i], "\t", "    "), limit)
	}
	return strings.Join(lines, "\n")
}

func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit] + "…"
}
