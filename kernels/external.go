package kernels

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"
)

// Skip is the error of a driver that, by its own word, is not for this kernel
// or architecture. It is no failure of the driver, and no pass either.
type Skip struct {
	Reason string
	// Options that would make it apply, without CONFIG_, as far as it names them.
	Options []string
}

func (s *Skip) Error() string { return "the driver does not apply: " + s.Reason }

// buildLimit ends the build of a driver that hangs or waits for an answer.
const buildLimit = 20 * time.Minute

// What ends one that prints without end: this much, or one line this often.
const (
	maxBuildOutput = 64 << 20
	maxRepeats     = 1000
)

// externalRecipe is part of every key here: raise it when the way of building changes.
const externalRecipe = "1"

// externalBuild builds whatever a driver's directory holds.
type externalBuild struct {
	*moduleBuild
	parts []driverPart
	// confLimit bounds the evaluation of dkms.conf; 0 means dkmsConfLimit.
	confLimit time.Duration
	// probe builds as far as it goes, to see all that is missing at once: what no
	// header declares is left for modpost to miss.
	probe bool
}

// driverKind is how a driver wants to be built.
type driverKind string

const (
	kindDKMS     driverKind = "dkms.conf"
	kindKbuild   driverKind = "kbuild"
	kindMakefile driverKind = "Makefile"
)

// External builds the modules of a driver's directory in the way that it is
// made for: by its dkms.conf; by kbuild where there is a Kbuild file or a
// Makefile with obj-m; else by its own Makefile, which is told the kernel's
// tree under every name in use. It builds in a copy: the directory stays as it
// is. A driver of several parts is built part by part. The modules come in an order in which they can be loaded. A driver that
// does not compile is an error with FaultDriver that wraps a *CompileError; one
// that excludes itself is a *Skip.
func (b *Builder) External(ctx context.Context, k *Kernel, dir string, opts ModuleOptions) ([]Module, error) {
	e, err := b.planExternal(ctx, k, dir, opts)
	if err != nil {
		return nil, err
	}
	return e.modules(ctx)
}

func (b *Builder) planExternal(ctx context.Context, k *Kernel, dir string, opts ModuleOptions) (*externalBuild, error) {
	parts, own, err := planParts(k, dir, opts)
	if err != nil {
		return nil, err
	}
	if opts.Root == "" {
		if opts.Root, err = around(dir, opts.parts()); err != nil {
			return nil, err
		}
	}
	for _, option := range own {
		opts.MakeArgs = append(slices.Clone(opts.MakeArgs), "CONFIG_"+option+"=m")
	}
	m, err := b.planModules(ctx, k, dir, opts)
	if err != nil {
		return nil, err
	}
	return &externalBuild{moduleBuild: m, parts: parts}, nil
}

func (e *externalBuild) modules(ctx context.Context) ([]Module, error) {
	content, err := sumContent(ctx, e.root, e.files)
	if err != nil {
		return nil, fmt.Errorf("driver %s: %w", e.dir, err)
	}
	sum := sha256.Sum256([]byte(e.key(content.sum()) + e.kinds() + externalRecipe))
	key := keySafe("x-"+filepath.Base(e.dir)) + "-" + hex.EncodeToString(sum[:])[:20]
	if e.log, err = e.b.cache().Path(KindModules, key); err != nil {
		return nil, err
	}
	e.log += ".log"
	entry, release, err := e.b.cache().entry(ctx, KindModules, key, recipe{make: e.make, doing: "builds it"})
	if err != nil {
		return nil, err
	}
	e.b.hold(entry, release)
	return readModules(entry)
}

// kinds is how the parts are built, as part of the key.
func (e *externalBuild) kinds() (all string) {
	for _, p := range e.parts {
		all += string(p.kind)
	}
	return all
}

// upward is a path that leads out of the directory.
var upward = regexp.MustCompile(`(?:\$\((?:src|obj|srctree/\$\(src|M|PWD|CURDIR)\)+/|[\s"=I(/])((?:\.\./)+)`)

// surroundings is the directory, or the one above that its Makefile and
// sources reach into by "../"; never more than three up, nor out of its git tree.
func surroundings(dir string) (string, error) {
	root, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	up, err := reach(root)
	if err != nil {
		return "", err
	}
	for range up {
		if _, err := os.Stat(filepath.Join(root, ".git")); err == nil || filepath.Dir(root) == "/" {
			break
		}
		root = filepath.Dir(root)
	}
	return root, nil
}

// reach counts how far up the files of a directory name others.
func reach(dir string) (int, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	most := 0
	for _, e := range entries {
		ext := filepath.Ext(e.Name())
		if !e.Type().IsRegular() || e.Name() != "Makefile" && e.Name() != "Kbuild" && ext != ".c" && ext != ".h" {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return 0, err
		}
		for line := range bytes.Lines(text) {
			if ext != "" && !bytes.Contains(line, []byte("#include")) {
				continue
			}
			for _, m := range upward.FindAllSubmatch(line, -1) {
				most = max(most, len(m[1])/len("../"))
			}
		}
	}
	return min(most, 3), nil
}

func (e *externalBuild) make(ctx context.Context, entry string) error {
	log, err := os.Create(e.log)
	if err != nil {
		return hostErr(err, "driver %s", e.dir)
	}
	defer log.Close()
	work := filepath.Join(entry, "work")
	files, err := e.buildParts(ctx, log, work)
	if err != nil {
		return err
	}
	built, err := e.keepAll(ctx, entry, files)
	if err != nil {
		return err
	}
	if err := writeJSON(filepath.Join(entry, "modules.json"), built); err != nil {
		return err
	}
	if err := os.RemoveAll(work); err != nil {
		return hostErr(err, "driver %s", e.dir)
	}
	return nil
}

// loadable refuses a module that the kernel would not load beside its own: it
// says no more than "File exists". One that the kernel has as a module may be
// replaced.
func (e *externalBuild) loadable(m Module) error {
	twice, err := e.k.builtIn(m.Name)
	if err != nil || !twice {
		return err
	}
	return &Error{Fault: FaultDriver, Err: fmt.Errorf("%s: module %s has the name of one that is built into kernel %s", e.dir, m.Name, e.k.Release),
		Cure: "give it another name, or make the kernel's a module: =m under kconfig: of kmemgate.yml"}
}

// keepAll keeps the named modules for host and guest, in the order of loading.
func (e *externalBuild) keepAll(ctx context.Context, entry string, files []string) ([]builtModule, error) {
	for _, sub := range []string{"host", "guest"} {
		if err := os.MkdirAll(filepath.Join(entry, sub), 0o755); err != nil {
			return nil, hostErr(err, "driver %s", e.dir)
		}
	}
	var modules []Module
	for _, file := range files {
		mod, err := e.keep(ctx, entry, file)
		if err == nil {
			err = e.loadable(mod)
		}
		if err != nil {
			return nil, err
		}
		modules = append(modules, mod)
	}
	ordered, err := loadOrder(modules)
	if err != nil {
		return nil, &Error{Fault: FaultDriver, Err: fmt.Errorf("%s: %w", e.dir, err)}
	}
	built := make([]builtModule, len(ordered))
	for i, mod := range ordered {
		built[i] = builtModule{Name: mod.Name, File: filepath.Base(mod.Path), Depends: mod.Depends}
	}
	return built, nil
}
