// Package render writes a report for its readers: a person at a terminal, a
// CI server, a code scanner, a mailing list, a browser. One file a format;
// every one is a pure function of the report.
//
// Function names, file names, source lines and records come out of a guest
// whose kernel the module under test owns, or out of a stranger's repository.
// They pass [clean] before a format sees them, and each format then quotes for
// its own syntax.
package render

import (
	"bytes"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/kmemgate/kmemgate/reports"
)

// Options say how to render. The zero value is text without colour.
type Options struct {
	// Format is one of Formats; empty means "text".
	Format string
	// Color paints the text format.
	Color bool
	// Width is the terminal's; prose is folded to it. 0 means 100 columns.
	Width int
	// SourceDir stands before the relative file names of the modules: the
	// driver's directory as seen from where the reader stands (the
	// repository's root for github and sarif, the working directory for text).
	SourceDir string
	// OutDir is the folder of report.json; it stands before the runs' folders.
	OutDir string
	// Introduced tells of the version that brought the leak in, where bisect found
	// it; the mail format quotes it.
	Introduced string
	// FullReport is the URL where a report that had to be cut can be read whole.
	FullReport string
}

type writer func(*bytes.Buffer, *view) error

// A format renders a view; raw formats get the report as it is and quote
// everything themselves, so that a program reads back what was there.
var formats = map[string]writer{
	"text":           writeText,
	"json":           writeJSON,
	"github":         writeGitHub,
	"markdown":       writeMarkdown,
	"junit":          writeJUnit,
	"ktap":           writeKTAP,
	"sarif":          writeSARIF,
	"folded":         writeFolded,
	"folded-objects": writeFoldedObjects,
	"pprof":          writePprof,
	"mail":           writeMail,
	"html":           writeHTML,
}

// Formats lists the formats, sorted.
func Formats() []string {
	names := make([]string, 0, len(formats))
	for name := range formats {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Write renders r to w in one call of w.Write, so that a format that errs
// leaves nothing half written.
func Write(w io.Writer, r reports.Report, opt Options) error {
	name := opt.Format
	if name == "" {
		name = "text"
	}
	write, ok := formats[name]
	if !ok {
		return fmt.Errorf("render: unknown format %q (want one of %s)", name, strings.Join(Formats(), ", "))
	}
	var buf bytes.Buffer
	if err := write(&buf, newView(r, opt)); err != nil {
		return fmt.Errorf("render %s: %w", name, err)
	}
	if _, err := w.Write(buf.Bytes()); err != nil {
		return fmt.Errorf("write %s report: %w", name, err)
	}
	return nil
}

// sourcePath is the file of a leak or frame as the reader sees it: only what
// belongs to a module lies below SourceDir, the rest is the kernel's.
func (o Options) sourcePath(file, module string) string {
	if file == "" || module == "" || o.SourceDir == "" || path.IsAbs(file) || kernelHeader(file) {
		return file
	}
	return path.Join(clean(o.SourceDir), file)
}

// kernelHeader knows the kernel's headers by their folders: what is inlined
// from them (kzalloc of include/linux/slab.h) has the driver's module, not its
// source.
func kernelHeader(file string) bool {
	for _, dir := range []string{"include/linux/", "include/asm-generic/", "include/net/", "include/uapi/", "arch/"} {
		if strings.HasPrefix(file, dir) {
			return true
		}
	}
	return false
}

// evidence is the folder of a run as the reader sees it.
func (o Options) evidence(run reports.Run) string {
	if run.Dir == "" || path.IsAbs(run.Dir) {
		return run.Dir
	}
	return path.Join(clean(o.OutDir), run.Dir)
}
