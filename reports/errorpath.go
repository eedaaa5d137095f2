package reports

import (
	"regexp"
	"strings"
)

const (
	// pathReach is how far below the allocation its check is looked for, and
	// below a label the return.
	pathReach = 12
)

var (
	gotoLabel  = regexp.MustCompile(`\bgoto\s+(\w+)\s*;`)
	returnLine = regexp.MustCompile(`\breturn\b`)
)

// errorPath is the way that the driver's source takes when the allocation on a
// line fails: from that line to the first return or goto below it, and from the
// goto's label to its return. It is read off the text, which is right for the
// way that kernel code checks its allocations; where there is neither before the
// function's end, the lines up to there are shown.
func (s *sources) errorPath(file string, line int) []SourceLine {
	lines := s.lines(file)
	if line < 1 || line > len(lines) {
		return nil
	}
	path, last := s.wayOut(lines, line)
	m := gotoLabel.FindStringSubmatch(lines[last-1])
	if m == nil {
		return path
	}
	for n := last + 1; n <= len(lines) && !functionEnd(lines[n-1]); n++ {
		if strings.TrimSpace(lines[n-1]) == m[1]+":" {
			rest, _ := s.wayOut(lines, n)
			return append(path, rest...)
		}
	}
	return path
}

// wayOut is a line and those below it up to a return, a goto or the function's
// end, and the number of the last.
func (*sources) wayOut(lines []string, line int) (path []SourceLine, last int) {
	for n := line; n <= min(len(lines), line+pathReach); n++ {
		text := lines[n-1]
		path, last = append(path, SourceLine{n, strings.TrimRight(clipLine(text), " \t\r")}), n
		if returnLine.MatchString(text) || gotoLabel.MatchString(text) || functionEnd(text) {
			break
		}
	}
	return path, last
}

// functionEnd: kernel code closes a function in the first column.
func functionEnd(line string) bool { return strings.HasPrefix(line, "}") }
