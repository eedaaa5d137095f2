package kernels

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
)

// ModuleOptions say how external modules are built. The zero value builds the
// Kbuild file of a directory.
type ModuleOptions struct {
	// Root is copied in place of the directory, which must lie in it: for a
	// driver that includes headers from beside its directory.
	Root string
	// Parts are directories below the driver's that are built by themselves, in
	// this order: each is told what those before it export. Empty: the directory.
	Parts []string
	// MakeArgs go to make: variables of the driver's Makefile, "CONFIG_FOO=m".
	MakeArgs []string
}

// moduleRecipe is part of every module's key.
const moduleRecipe = "1"

// moduleBuild is a driver directory that is built for one kernel. Its cache entry:
//
//	host/NAME.ko   with DWARF
//	guest/NAME.ko  without
//	modules.json   []builtModule, in the order of loading
type moduleBuild struct {
	b     *Builder
	k     *Kernel
	chain *toolchain
	dir   string // the driver's, absolute
	root  string // dir or a directory around it
	files []string
	opts  ModuleOptions
	log   string
}

// builtModule is one line of modules.json.
type builtModule struct {
	Name    string   `json:"name"`
	File    string   `json:"file"`
	Depends []string `json:"depends,omitempty"`
}

func (b *Builder) planModules(ctx context.Context, k *Kernel, dir string, opts ModuleOptions) (*moduleBuild, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	for _, part := range opts.parts() {
		if part := filepath.Join(dir, part); !hasMakefile(part) && !hasDKMSConf(part) {
			return nil, usageErr("name the directory of a kernel module", "driver %s: no Kbuild and no Makefile", part)
		}
	}
	root := abs
	if opts.Root != "" {
		if root, err = filepath.Abs(opts.Root); err != nil {
			return nil, err
		}
	}
	if rel, err := filepath.Rel(root, abs); err != nil || !filepath.IsLocal(rel) {
		return nil, usageErr("name a directory below it", "driver %s: lies outside of %s", dir, root)
	}
	chain, err := b.toolchain(ctx, k.Arch, k.LLVM)
	if err != nil {
		return nil, err
	}
	files, err := trackedFiles(ctx, root)
	if err != nil {
		return nil, fmt.Errorf("driver %s: %w", dir, err)
	}
	rel, err := filepath.Rel(root, abs)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(opts.parts(), func(part string) bool { return !makefileIn(files, filepath.Join(rel, part)) }) {
		// In a git work tree that ignores the driver: build trees, vendored code.
		if files, err = walkedFiles(root); err != nil {
			return nil, fmt.Errorf("driver %s: %w", dir, err)
		}
	}
	files = slices.DeleteFunc(files, func(f string) bool { return buildOutput(f) && !strings.HasSuffix(f, ".a") })
	return &moduleBuild{b: b, k: k, chain: chain, dir: abs, root: root, files: files, opts: opts}, nil
}

// makefiles are what kbuild looks for in a directory, in its order.
var makefiles = []string{"Kbuild", "Makefile"}

func isMakefile(name string) bool { return slices.Contains(makefiles, name) }

// makefileIn tells whether one of the files is a Makefile in a directory.
func makefileIn(files []string, dir string) bool {
	return slices.ContainsFunc(files, func(f string) bool { return filepath.Dir(f) == dir && isMakefile(filepath.Base(f)) })
}

func hasMakefile(dir string) bool {
	for _, name := range makefiles {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.Mode().IsRegular() {
			return true
		}
	}
	return false
}

func (m *moduleBuild) key(sum string) string {
	h := sha256.New()
	// The directory's name stands in the modules' debug information.
	fmt.Fprintf(h, "%s\n%s\n%s\n%q\n%q\n%q\n", moduleRecipe, m.k.Key, sum, m.root, m.dir, m.opts.MakeArgs)
	if len(m.opts.Parts) > 0 {
		fmt.Fprintf(h, "%q\n", m.opts.Parts)
	}
	if m.chain.version != m.k.Compiler { // a pulled kernel's; else the kernel's key has it
		fmt.Fprintln(h, m.chain.version)
	}
	return keySafe("m-"+filepath.Base(m.dir)) + "-" + hex.EncodeToString(h.Sum(nil))[:20]
}

func (m *moduleBuild) keep(ctx context.Context, entry, ko string) (Module, error) {
	host := filepath.Join(entry, "host", filepath.Base(ko))
	if err := os.Rename(ko, host); err != nil {
		return Module{}, hostErr(err, "driver %s", m.dir)
	}
	mod, err := m.b.Prebuilt(m.k, host)
	if err != nil {
		return mod, err
	}
	mod.Name = ModuleName(filepath.Base(ko))
	log, err := os.OpenFile(m.log, os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return mod, hostErr(err, "driver %s", m.dir)
	}
	defer log.Close()
	return mod, m.chain.strip(ctx, host, filepath.Join(entry, "guest", filepath.Base(ko)), log)
}

func readModules(entry string) ([]Module, error) {
	text, err := os.ReadFile(filepath.Join(entry, "modules.json"))
	if err != nil {
		return nil, hostErr(err, "modules")
	}
	var built []builtModule
	if err := json.Unmarshal(text, &built); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(entry, "modules.json"), err)
	}
	modules := make([]Module, len(built))
	for i, m := range built {
		modules[i] = Module{
			Name: m.Name, Path: filepath.Join(entry, "host", m.File),
			Stripped: filepath.Join(entry, "guest", m.File), Depends: m.Depends,
		}
	}
	return modules, nil
}

func writeJSON(file string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, text, 0o644); err != nil {
		return hostErr(err, "write")
	}
	return nil
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}
