package kernels

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A driver whose directories are built one by one may miss what one of them
// exports that nobody said to build. The kernel has no such thing; its neighbour has.

// beside are the directories around the parts whose C files export what a build
// misses.
func (r *driverRun) beside(c *CompileError) map[string]string {
	missing := newSet(slices.Concat(c.Undefined, c.Implicit))
	if len(missing) == 0 {
		return nil
	}
	found := map[string]string{}
	for _, file := range r.files {
		dir := filepath.Dir(filepath.Join(r.root, file))
		if filepath.Ext(file) != ".c" || r.isBuilt(dir) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(r.root, file))
		if err != nil {
			continue // the message is of another matter
		}
		for _, m := range exportLine.FindAllSubmatch(text, -1) {
			if rel, err := filepath.Rel(r.externalBuild.dir, dir); err == nil && missing[string(m[1])] {
				found[string(m[1])] = rel
			}
		}
	}
	return found
}

// isBuilt tells whether a directory is one of the parts, or below one.
func (r *driverRun) isBuilt(dir string) bool {
	return slices.ContainsFunc(r.parts, func(p driverPart) bool {
		part := filepath.Join(r.externalBuild.dir, p.dir)
		return dir == part || strings.HasPrefix(dir, part+string(os.PathSeparator))
	})
}

// besides is the first of the symbols that the kernel has not for which there is
// a directory.
//
// Example: k_common: this kernel's source has no such thing
func (c *CompileError) besides(unresolved []string) (name, dir string) {
	for _, line := range unresolved {
		name, _, _ := strings.Cut(line, ":")
		if dir := c.Beside[name]; dir != "" && strings.HasSuffix(line, noSuchThing) {
			return name, dir
		}
	}
	return "", ""
}

// cureBeside is how to have such a directory built.
func cureBeside(dir string) string {
	if above, ok := strings.CutPrefix(dir, ".."+string(os.PathSeparator)); ok {
		return "run the directory that holds both, with build: in its kmemgate.yml: " + above + " before what uses it"
	}
	return "name " + dir + " in build: of kmemgate.yml, before what uses it"
}
