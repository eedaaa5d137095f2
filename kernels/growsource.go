package kernels

import (
	"bytes"
	"io/fs"
	"path"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// place is where a kernel's source defines or exports something.
type place struct {
	file   string
	guards []string // options of the #ifdefs around it
}

// exportLine is one export. Subsystems have macros of their own around
// EXPORT_SYMBOL, all with EXPORT in their name.
//
// Example: EXPORT_SYMBOL_NS_GPL(iommu_attach, "IOMMU");
var exportLine = regexp.MustCompile(`\b[A-Z0-9_]*EXPORT_[A-Z0-9_]+\(\s*([A-Za-z0-9_]+)`)

// findExports looks for the files that export the symbols, in all of the source
// that could be built for the architecture.
func findExports(src fs.FS, arch string, symbols []string) (map[string][]place, error) {
	files, err := treeFiles(src, arch, []string{"."}, ".c", ".S")
	if err != nil {
		return nil, err
	}
	wanted := newSet(symbols)
	return scan(src, files, func(text []byte) map[string][]string {
		if !bytes.Contains(text, []byte("EXPORT_")) {
			return nil
		}
		found := map[string][]string{}
		var guards guardStack
		for line := range bytes.Lines(text) {
			if guards.line(line) || !bytes.Contains(line, []byte("EXPORT_")) {
				continue
			}
			if m := exportLine.FindSubmatch(line); m != nil && wanted[string(m[1])] {
				noteGuards(found, string(m[1]), guards)
			}
		}
		return found
	})
}

// findGuarded looks in the headers for names and the #ifdef CONFIG_ that they
// are declared or defined under: prototypes, inline functions, macros, types.
func findGuarded(src fs.FS, arch string, names []string) (map[string][]place, error) {
	files, err := treeFiles(src, arch, []string{"include", "arch/" + arch + "/include"}, ".h")
	if err != nil {
		return nil, err
	}
	wanted := newSet(names)
	return scan(src, files, func(text []byte) map[string][]string {
		if !slices.ContainsFunc(names, func(name string) bool { return bytes.Contains(text, []byte(name)) }) {
			return nil // nearly every header
		}
		return guardedNames(text, wanted)
	})
}

// definition is a line that introduces a name.
//
// Example: static inline int foo(struct bar *b)
// Example: #define module_i2c_driver(__i2c_driver) \
var definition = regexp.MustCompile(`^\s*#\s*define\s+([A-Za-z0-9_]+)|^[A-Za-z_][A-Za-z0-9_ *]*?[ *]([A-Za-z0-9_]+)\s*\(|^(?:struct|union|enum)\s+([A-Za-z0-9_]+)\s*\{|^\s*([A-Z][A-Z0-9_]+)\s*[,=]`)

func guardedNames(text []byte, wanted map[string]bool) map[string][]string {
	found := map[string][]string{}
	var guards guardStack
	for line := range bytes.Lines(text) {
		m := definition.FindSubmatch(line)
		if m == nil {
			guards.line(line)
			continue
		}
		for _, name := range m[1:] {
			if wanted[string(name)] {
				noteGuards(found, string(name), guards)
			}
		}
	}
	return found
}

// noteGuards keeps the place in a file that asks for least: one branch of an
// #if often has the stub for the other.
func noteGuards(found map[string][]string, name string, guards guardStack) {
	options := guards.options()
	if old, have := found[name]; !have || len(options) < len(old) {
		found[name] = options
	}
}

// findMembers looks for members of structures that stand under an #ifdef.
// Names are "struct.member".
func findMembers(src fs.FS, arch string, names []string) (map[string][]place, error) {
	files, err := treeFiles(src, arch, []string{"include", "arch/" + arch + "/include"}, ".h")
	if err != nil {
		return nil, err
	}
	return scan(src, files, func(text []byte) map[string][]string {
		found := map[string][]string{}
		for _, name := range names {
			structure, member, _ := strings.Cut(name, ".")
			if guards, ok := memberGuards(text, structure, member); ok {
				found[name] = guards
			}
		}
		return found
	})
}

func memberGuards(text []byte, structure, member string) (guards []string, found bool) {
	start := bytes.Index(text, []byte("\nstruct "+structure+" {"))
	if start < 0 {
		return nil, false
	}
	body, _, _ := bytes.Cut(text[start+1:], []byte("\n}"))
	word := regexp.MustCompile(`\b` + regexp.QuoteMeta(member) + `\b\s*[;\[,:)]`)
	var stack guardStack // the structure itself may stand under one
	for line := range bytes.Lines(text[:start+1]) {
		stack.line(line)
	}
	for line := range bytes.Lines(body) {
		if !stack.line(line) && word.Match(line) {
			return stack.options(), true
		}
	}
	return nil, false
}

// guardStack is the #if CONFIG_ around a line of C.
type guardStack []condition

// line takes a preprocessor conditional, and tells whether it was one.
//
// Example: #if IS_ENABLED(CONFIG_I2C)
func (g *guardStack) line(line []byte) bool {
	line = bytes.TrimSpace(line)
	if len(line) == 0 || line[0] != '#' {
		return false
	}
	text := strings.TrimSpace(string(line[1:]))
	switch {
	case strings.HasPrefix(text, "ifndef"):
		*g = append(*g, condition{option: firstConfig(text), negated: true})
	case strings.HasPrefix(text, "if"):
		*g = append(*g, condition{option: firstConfig(text), negated: strings.Contains(text, "!defined") || strings.Contains(text, "!IS_")})
	case strings.HasPrefix(text, "elif") && len(*g) > 0:
		(*g)[len(*g)-1] = condition{option: firstConfig(text)}
	case strings.HasPrefix(text, "else") && len(*g) > 0:
		(*g)[len(*g)-1].negated = !(*g)[len(*g)-1].negated
	case strings.HasPrefix(text, "endif") && len(*g) > 0:
		*g = (*g)[:len(*g)-1]
	default:
		return false
	}
	return true
}

// firstConfig is the option of a condition; CONFIG_X_MODULE is CONFIG_X=m.
func firstConfig(text string) string {
	if names := configNames(text); names != nil {
		return strings.TrimSuffix(names[0], "_MODULE")
	}
	return ""
}

func (g guardStack) options() []string { return conditions(g).options() }

// skipped are folders whose files are in no kernel.
var skipped = newSet([]string{"Documentation", "LICENSES", "tools", "scripts", "samples", "usr", ".git", "testing", "debian"})

// treeFiles lists the files below some folders, without other architectures'.
func treeFiles(src fs.FS, arch string, roots []string, suffixes ...string) ([]string, error) {
	var files []string
	for _, root := range roots {
		err := fs.WalkDir(src, root, func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() && (skipped[name] || path.Dir(name) == "arch" && path.Base(name) != arch) {
				return fs.SkipDir
			}
			if d.Type().IsRegular() && slices.Contains(suffixes, path.Ext(name)) {
				files = append(files, name)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

// scan reads files side by side and collects what look finds in each: names,
// and the guards around them.
func scan(src fs.FS, files []string, look func(text []byte) map[string][]string) (map[string][]place, error) {
	found := map[string][]place{}
	var mu sync.Mutex
	var first error
	var wg sync.WaitGroup
	next := make(chan string)
	for range runtime.NumCPU() {
		wg.Go(func() {
			for file := range next {
				text, err := fs.ReadFile(src, file)
				names := map[string][]string{}
				if err == nil {
					names = look(text)
				}
				mu.Lock()
				if err != nil && first == nil {
					first = err
				}
				for name, guards := range names {
					found[name] = append(found[name], place{file: file, guards: guards})
				}
				mu.Unlock()
			}
		})
	}
	for _, file := range files {
		next <- file
	}
	close(next)
	wg.Wait()
	for _, places := range found {
		slices.SortFunc(places, func(a, b place) int { return strings.Compare(a.file, b.file) })
	}
	return found, first
}

func newSet(names []string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[name] = true
	}
	return set
}
