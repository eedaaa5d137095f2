package reports

import (
	"debug/dwarf"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A module of the kernel's own tree: the headers there are not the module's.
func TestPathsInTheKernelsSource(t *testing.T) {
	tree := t.TempDir()
	for _, f := range []string{"include/linux/types.h", "include/linux/slab.h", "net/bridge/br_fdb.c", "net/bridge/br_private.h"} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(tree, f)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(tree, f), nil, 0o644))
	}
	c := &Capture{SourceDir: tree}
	p := newPathMap(c, &dwarfIndex{units: []unit{{name: "net/bridge/br_fdb.c"}}}, newSources(c))
	for file, kernel := range map[string]bool{
		"net/bridge/br_fdb.c":     false,
		"net/bridge/br_private.h": false,
		"include/linux/slab.h":    true,
	} {
		for _, name := range []string{file, filepath.Join(tree, file)} {
			got, isKernel := p.relative(name)
			assert.Equal(t, mappedPath{file, kernel}, mappedPath{got, isKernel}, name)
		}
	}
}

func TestRelativePaths(t *testing.T) {
	driver := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(driver, "src/include"), 0o755))
	for _, f := range []string{"src/foo.c", "src/slab.h", "src/include/own.h"} {
		require.NoError(t, os.WriteFile(filepath.Join(driver, f), nil, 0o644))
	}
	line := func(names ...string) (out []*dwarf.LineFile) {
		for _, n := range names {
			out = append(out, &dwarf.LineFile{Name: n})
		}
		return out
	}
	for name, tc := range map[string]struct {
		unit   string
		kernel string // where the kernel's source lies
	}{
		"names of the driver's directory": {driver + "/src/foo.c", "/k/linux"},
		"a copy of it":                    {"/scratch/x/src/foo.c", "/k/linux"},
		"kernel in a folder drivers":      {"/home/drivers/x/src/foo.c", "/home/drivers/include-linux"},
	} {
		t.Run(name, func(t *testing.T) {
			c := &Capture{SourceDir: driver}
			dir := filepath.Dir(tc.unit)
			d := &dwarfIndex{units: []unit{
				{name: tc.unit, files: line(tc.unit, dir+"/include/own.h", tc.kernel+"/include/linux/slab.h", "/o/include/generated/x.h", tc.kernel+"/arch/x86/include/asm/io.h")},
				{name: tc.kernel + "/scripts/module-common.c"},
			}}
			p := newPathMap(c, d, newSources(c))
			for file, want := range map[string]mappedPath{
				tc.unit:                                 {"src/foo.c", false},
				dir + "/include/own.h":                  {"src/include/own.h", false},
				tc.kernel + "/include/linux/slab.h":     {"include/linux/slab.h", true},
				tc.kernel + "/arch/x86/include/asm/a.h": {"arch/x86/include/asm/a.h", true},
				"/o/include/generated/x.h":              {"include/generated/x.h", true},
				"include/linux/slab.h":                  {"include/linux/slab.h", true},
				"samples/kmemleak/kmemleak-test.c":      {"samples/kmemleak/kmemleak-test.c", false},
				"src/foo.c":                             {"src/foo.c", false},
				"/elsewhere/x.c":                        {"x.c", false},
			} {
				got, kernel := p.relative(file)
				assert.Equal(t, want, mappedPath{got, kernel}, file)
			}
		})
	}
}
