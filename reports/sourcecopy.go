package reports

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// maxSources bounds the copies of a driver's sources in a run's folder.
const maxSources = 64 << 20

// copySources puts the driver's files that its modules' line tables name into
// the run's folder, so that a report can be made again when the driver's
// directory has changed or is gone.
func copySources(dir string, c *Capture) error {
	to := filepath.Join(dir, sourceDir)
	if err := os.RemoveAll(to); err != nil { // of an earlier run in the same folder
		return err
	}
	if c.SourceDir == "" {
		return nil
	}
	left := int64(maxSources)
	for _, name := range driverFiles(dir, c) {
		b := readSource(c.SourceDir, name)
		if left -= int64(len(b)); b == nil || left < 0 {
			continue
		}
		path := filepath.Join(to, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			return fmt.Errorf("copy of a source: %w", err)
		}
	}
	return nil
}

// driverFiles lists the files of the driver's directory that the modules under
// test were made from. A module that cannot be read names none; Judge warns.
func driverFiles(dir string, c *Capture) []string {
	src := &sources{dirs: []string{c.SourceDir}, files: map[string][]string{}}
	seen := map[string]bool{}
	var out []string
	for _, m := range c.Modules {
		if !m.UnderTest {
			continue
		}
		em, err := openModule(modulePath(dir, m))
		if err != nil || em.dwarf == nil {
			continue
		}
		paths := newPathMap(c, em.dwarf, src)
		for _, name := range em.dwarf.fileNames() {
			if rel, kernel := paths.relative(name); !kernel && rel != "" && !seen[rel] {
				seen[rel] = true
				out = append(out, rel)
			}
		}
	}
	slices.Sort(out)
	return out
}

// fileNames returns every file that the line tables name.
func (x *dwarfIndex) fileNames() []string {
	var out []string
	for _, u := range x.units {
		for _, f := range u.files {
			if f != nil {
				out = append(out, f.Name)
			}
		}
	}
	return out
}

// modulePath is where a module's unstripped file lies.
func modulePath(dir string, m Module) string {
	if m.Path == "" || filepath.IsAbs(m.Path) {
		return m.Path
	}
	return filepath.Join(dir, m.Path)
}
