package reports

import (
	"os"
	"path/filepath"
	"strings"
)

const (
	// maxSource bounds a source file that is read for its lines.
	maxSource = 4 << 20
	// excerptContext is how many lines stand on either side of the one.
	excerptContext = 2
	// maxSourceLine bounds a line in an excerpt.
	maxSourceLine = 400
	// sourceDir holds, in a run's folder, copies of the sources that the
	// modules' line tables name.
	sourceDir = "source"
)

// sources reads lines of the driver's source: from the copies in the run's
// folder, so that a report can be made again without the driver's directory,
// else from that directory. Its zero value knows no lines.
type sources struct {
	dirs  []string
	files map[string][]string
}

func newSources(c *Capture) *sources {
	s := &sources{files: map[string][]string{}}
	if c.Dir != "" {
		s.dirs = append(s.dirs, filepath.Join(c.Dir, sourceDir))
	}
	if c.SourceDir != "" {
		s.dirs = append(s.dirs, c.SourceDir)
	}
	return s
}

// has tells whether a file is one of the driver's.
func (s *sources) has(file string) bool { return s.lines(file) != nil }

// lines returns the lines of a file; nil if there is none of this name.
func (s *sources) lines(file string) []string {
	if lines, ok := s.files[file]; ok {
		return lines
	}
	lines := []string(nil)
	for _, dir := range s.dirs {
		if b := readSource(dir, file); b != nil {
			lines = strings.Split(string(b), "\n")
			break
		}
	}
	s.files[file] = lines
	return lines
}

// readSource reads a regular file below dir, and nothing else: its name comes
// from a module's DWARF.
func readSource(dir, file string) []byte {
	if !filepath.IsLocal(file) {
		return nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil
	}
	defer root.Close()
	info, err := root.Stat(file)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxSource {
		return nil
	}
	b, err := root.ReadFile(file)
	if err != nil {
		return nil
	}
	return b
}

// text is a line with its white space folded; empty if it is not at hand.
func (s *sources) text(file string, line int) string {
	lines := s.lines(file)
	if line < 1 || line > len(lines) {
		return ""
	}
	return strings.Join(strings.Fields(clipLine(lines[line-1])), " ")
}

// excerpt is a line with its neighbours.
func (s *sources) excerpt(file string, line int) []SourceLine {
	lines := s.lines(file)
	if line < 1 || line > len(lines) {
		return nil
	}
	var out []SourceLine
	for n := max(1, line-excerptContext); n <= min(len(lines), line+excerptContext); n++ {
		out = append(out, SourceLine{n, strings.TrimRight(clipLine(lines[n-1]), " \t\r")})
	}
	return out
}

func clipLine(s string) string {
	if len(s) > maxSourceLine {
		return strings.ToValidUTF8(s[:maxSourceLine], "")
	}
	return s
}
