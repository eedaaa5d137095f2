package reports

import (
	"path/filepath"
	"slices"
	"strings"
)

// maxSuffix bounds how many directories of a path are tried against the
// driver's source.
const maxSuffix = 12

// pathMap turns the file names of a module's DWARF into names relative to the
// driver's directory, or to the kernel's source. A module may have been built
// in a copy of its directory that is gone by now.
type pathMap struct {
	src      *sources
	root     string   // the driver's directory; empty: not known
	kernel   []string // the kernel's source and build directories
	unitRoot string   // the directory of the module's own units
	inKernel bool     // the driver's directory is the kernel's source, of which a module is tested
	known    map[string]mappedPath
}

type mappedPath struct {
	name   string
	kernel bool
}

func newPathMap(c *Capture, d *dwarfIndex, src *sources) *pathMap {
	p := &pathMap{src: src, known: map[string]mappedPath{}}
	if c.SourceDir != "" {
		p.root = filepath.Clean(c.SourceDir)
	}
	// Every compilation has it; a driver's own directory has no use for one.
	p.inKernel = src.has("include/linux/types.h")
	if d == nil {
		return p
	}
	for _, name := range d.fileNames() {
		p.noteKernel(filepath.Clean(name))
	}
	for _, u := range d.units {
		p.noteUnit(filepath.Clean(u.name))
	}
	return p
}

// noteKernel learns where the kernel's trees lie: every module includes
// include/linux/types.h or the like, and generated headers from the build.
func (p *pathMap) noteKernel(file string) {
	if p.underRoot(file) != "" {
		return
	}
	for _, mark := range []string{"/include/linux/", "/include/uapi/", "/include/generated/", "/include/asm-generic/"} {
		if at := strings.Index(file, mark); at > 0 && !slices.Contains(p.kernel, file[:at]) {
			p.kernel = append(p.kernel, file[:at])
		}
	}
}

// noteUnit narrows the directory that all of the module's own units share.
// Kbuild adds units of the kernel's to a module (scripts/module-common.c).
func (p *pathMap) noteUnit(file string) {
	if p.underKernel(file) != "" {
		return
	}
	dir := filepath.Dir(file)
	if p.unitRoot == "" {
		p.unitRoot = dir
	}
	for p.unitRoot != "/" && p.unitRoot != "." && below(p.unitRoot, dir) == "" {
		p.unitRoot = filepath.Dir(p.unitRoot)
	}
}

// below is the path of file under dir; "." for dir itself, empty if it is not.
func below(dir, file string) string {
	if file == dir {
		return "."
	}
	if rest, ok := strings.CutPrefix(file, strings.TrimSuffix(dir, "/")+"/"); ok {
		return rest
	}
	return ""
}

func (p *pathMap) underRoot(file string) string {
	if p.root == "" {
		return ""
	}
	return below(p.root, file)
}

func (p *pathMap) underKernel(file string) string { return longestBelow(p.kernel, file) }

// longestBelow returns the file's path under the deepest of the directories.
func longestBelow(dirs []string, file string) string {
	best := ""
	for _, dir := range dirs {
		if rel := below(dir, file); rel != "" && (best == "" || len(rel) < len(best)) {
			best = rel
		}
	}
	return best
}

// relative maps one name of the DWARF, and tells whether the file is the
// kernel's.
func (p *pathMap) relative(file string) (string, bool) {
	if file == "" {
		return "", false
	}
	if m, ok := p.known[file]; ok {
		return m.name, m.kernel
	}
	m := p.resolve(filepath.Clean(file))
	p.known[file] = m
	return m.name, m.kernel
}

func (p *pathMap) resolve(file string) mappedPath {
	if !filepath.IsAbs(file) { // the build cut the machine's directories off (-ffile-prefix-map)
		return mappedPath{file, isKernelHeader(file) && (p.inKernel || !p.src.has(file))}
	}
	if rel := p.underRoot(file); rel != "" {
		return mappedPath{rel, p.inKernel && isKernelHeader(rel)}
	}
	if p.unitRoot == "" || below(p.unitRoot, file) == "" {
		if rel := p.underKernel(file); rel != "" {
			return mappedPath{rel, isKernelHeader(rel)}
		}
	}
	if rel := p.suffix(file); rel != "" {
		return mappedPath{name: rel}
	}
	if rel := below(p.unitRoot, file); rel != "" && p.unitRoot != "" {
		return mappedPath{name: rel}
	}
	return mappedPath{name: filepath.Base(file)}
}

// isKernelHeader knows the kernel's headers by their folders.
func isKernelHeader(file string) bool {
	return strings.HasPrefix(file, "include/") || strings.HasPrefix(file, "arch/") && strings.Contains(file, "/include/")
}

// suffix finds the longest end of a path that names a file of the driver.
func (p *pathMap) suffix(file string) string {
	parts := strings.Split(strings.TrimPrefix(file, "/"), "/")
	for i := max(0, len(parts)-maxSuffix); i < len(parts); i++ {
		if rel := strings.Join(parts[i:], "/"); p.src.has(rel) {
			return rel
		}
	}
	return ""
}
