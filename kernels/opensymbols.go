package kernels

import (
	"debug/elf"
	"os"
	"path/filepath"
	"slices"
)

// modpost tells of ten symbols that it misses and counts the rest
// (MAX_UNRESOLVED_REPORTS, scripts/mod/modpost.c), and each round of the search
// is a kernel: the objects have all of them.

// open are the symbols that the objects of a build leave open, and that neither
// they nor the kernel have.
func (r *driverRun) open() []string {
	objects, err := findFiles(r.work, ".o")
	if err != nil {
		return nil // what modpost told of is enough to go on
	}
	have := map[string]bool{}
	for _, file := range append([]string{filepath.Join(r.k.Build, symversFile)}, r.done.symbols...) {
		text, _ := os.ReadFile(file)
		for _, name := range symversNames(string(text)) {
			have[name] = true
		}
	}
	if len(have) == 0 {
		return nil // a kernel that does not say what it exports
	}
	var wanted []string
	for _, object := range objects {
		defined, undefined := symbolsOf(filepath.Join(r.work, object))
		for _, name := range defined {
			have[name] = true
		}
		wanted = append(wanted, undefined...)
	}
	wanted = slices.DeleteFunc(wanted, func(name string) bool { return have[name] })
	for i, name := range wanted {
		wanted[i] = exportedName(name)
	}
	return compacted(wanted)
}

// symbolsOf are the symbols that an object defines for others, and those that it
// wants; it can do without weak ones.
func symbolsOf(object string) (defined, undefined []string) {
	f, err := elf.Open(object)
	if err != nil {
		return nil, nil // a probe's compiler may have left half of one
	}
	defer f.Close()
	symbols, _ := f.Symbols()
	for _, s := range symbols {
		switch {
		case elf.ST_BIND(s.Info) == elf.STB_LOCAL || s.Name == "":
		case s.Section != elf.SHN_UNDEF:
			defined = append(defined, s.Name)
		case elf.ST_BIND(s.Info) == elf.STB_GLOBAL:
			undefined = append(undefined, s.Name)
		}
	}
	return defined, undefined
}
