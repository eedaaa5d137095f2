package kernels

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kmemgate/kmemgate/kconfig"
)

// Driver is a driver's modules with the kernel that has all they need.
type Driver struct {
	Kernel  *Kernel
	Modules []Module // in the order of loading
	// Added is what the kernel has on top of what was asked for.
	Added []Addition
}

// KconfigLines are the kconfig: lines of kmemgate.yml that make the same kernel
// without the search.
func (d *Driver) KconfigLines() []string {
	var lines []string
	for _, a := range d.Added {
		lines = append(lines, a.Options...)
	}
	return lines
}

// maxRounds bounds the search: each round builds a kernel, and adds something.
const maxRounds = 8

// growRecipe is part of the key under which the outcome of a search is kept.
const growRecipe = "3"

// Driver builds a driver for a kernel that Kernel returned, and lets the kernel
// grow until it has what the driver misses: the symbols that modpost and
// compiler name are looked up in the kernel's source, and the options that
// build them are added. What was found is kept, so that the next run goes there
// directly, and so is that there is nothing to be found.
func (b *Builder) Driver(ctx context.Context, k *Kernel, dir string, opts ModuleOptions) (*Driver, error) {
	g := &growth{b: b, spec: k.Spec, dir: dir, opts: opts}
	key, err := g.key(ctx, k)
	if err != nil {
		return nil, err
	}
	var d *Driver
	entry, release, err := b.cache().entry(ctx, KindModules, key, recipe{doing: "looks for what it needs", make: func(ctx context.Context, entry string) error {
		if d, err = g.search(ctx, k); err != nil {
			return g.refuse(ctx, k, entry, err)
		}
		return writeJSON(filepath.Join(entry, growJSON), append([]Addition{}, d.Added...))
	}})
	if err != nil {
		return nil, err
	}
	b.hold(entry, release)
	if d != nil {
		return d, nil
	}
	return g.again(ctx, k, entry)
}

const growJSON = "grow.json"

// growth is the search for one driver's kernel.
type growth struct {
	b    *Builder
	spec Spec
	dir  string
	opts ModuleOptions
}

func (g *growth) key(ctx context.Context, k *Kernel) (string, error) {
	e, err := g.b.planExternal(ctx, k, g.dir, g.opts)
	if err != nil {
		return "", err
	}
	content, err := sumContent(ctx, e.root, e.files)
	if err != nil {
		return "", fmt.Errorf("driver %s: %w", g.dir, err)
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{growRecipe, externalRecipe, e.key(content.sum())}, "\n")))
	return keySafe("grow-"+filepath.Base(e.dir)) + "-" + hex.EncodeToString(sum[:])[:20], nil
}

// again goes where an earlier search ended.
func (g *growth) again(ctx context.Context, k *Kernel, entry string) (*Driver, error) {
	text, err := os.ReadFile(filepath.Join(entry, growJSON))
	if errors.Is(err, os.ErrNotExist) {
		return g.refusedAgain(ctx, k, entry)
	}
	if err != nil {
		return nil, hostErr(err, "driver %s", g.dir)
	}
	var added []Addition
	if err := json.Unmarshal(text, &added); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(entry, growJSON), err)
	}
	if len(added) > 0 {
		if k, err = g.kernel(ctx, added); err != nil {
			return nil, err
		}
	}
	modules, err := g.b.External(ctx, k, g.dir, g.opts)
	if err != nil {
		return nil, err
	}
	return &Driver{Kernel: k, Modules: modules, Added: added}, nil
}

// kernel is the one that was asked for, with what was found on top.
func (g *growth) kernel(ctx context.Context, added []Addition) (*Kernel, error) {
	found := kconfig.Fragment{Name: "found for " + filepath.Base(g.dir)}
	line := 0
	for _, a := range added {
		f, err := kconfig.FromLines(a.Options, found.Name, slices.Repeat([]int{line + 1}, len(a.Options)))
		if err != nil {
			return nil, err
		}
		line++
		found = kconfig.Override(found, f)
	}
	found.Name = "found for " + filepath.Base(g.dir)
	spec := g.spec
	spec.Config = append(slices.Clone(spec.Config), found)
	return g.b.Kernel(ctx, spec)
}

// search builds the driver, and adds to the kernel what it misses, until it is
// content or nothing more is found. What its files name is added with the first
// that it misses: a driver that is for another kernel costs no kernel.
func (g *growth) search(ctx context.Context, k *Kernel) (*Driver, error) {
	d := &Driver{Kernel: k}
	missing, err := g.named(ctx)
	if err != nil {
		return nil, err
	}
	for range maxRounds {
		var failed error
		if d.Modules, failed = g.b.External(ctx, d.Kernel, g.dir, g.opts); failed != nil {
			more, err := g.misses(ctx, d.Kernel, failed)
			if more.empty() {
				return nil, err
			}
			missing, failed = missing.and(more), err
		}
		if missing.empty() {
			return d, nil
		}
		added, unresolved, err := g.find(d.Kernel, missing)
		switch {
		case err != nil:
			return nil, err
		case len(added) == 0 && failed != nil:
			return nil, explainUnresolved(failed, unresolved)
		case len(added) == 0: // what its files name is there already
			return d, nil
		}
		for _, a := range added {
			g.b.logf("driver %s: the kernel needs %s (%s)", filepath.Base(g.dir), strings.Join(a.Options, " "), a.Why)
		}
		d.Added = append(d.Added, added...)
		if d.Kernel, err = g.kernel(ctx, d.Added); err != nil {
			return nil, err
		}
		missing = needs{}
	}
	return nil, &Error{Fault: FaultDriver, Err: fmt.Errorf("%s: still misses something after %d kernels", g.dir, maxRounds),
		Cure: "set what it needs in kconfig: of kmemgate.yml"}
}

// misses is what the driver lacks of the kernel by the error of its build. A
// compiler stops before modpost gets to say what it misses, and each round is a
// kernel: so there is a probe of the rest. The error is the one to tell where
// nothing is found.
func (g *growth) misses(ctx context.Context, k *Kernel, failed error) (needs, error) {
	missing := needsOfError(failed)
	if missing.empty() {
		return needs{}, failed
	}
	probed := g.probe(ctx, k)
	var skip *Skip
	var c *CompileError
	switch {
	case !errors.As(probed, &c):
		return missing, failed
	case c.forAnotherKernel():
		return needs{}, probed
	case errors.As(failed, &skip):
		// Where the source has not what it misses, it is no use to heed the Skip.
		if _, unresolved, err := g.find(k, needsOf(c)); err == nil && hopeless(unresolved) {
			return needs{}, explainUnresolved(probed, unresolved)
		}
	}
	return missing.and(needsOf(c)), failed
}

// probe builds the driver as far as it goes.
func (g *growth) probe(ctx context.Context, k *Kernel) error {
	e, err := g.b.planExternal(ctx, k, g.dir, g.opts)
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp(filepath.Dir(k.Dir), "probe-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	e.probe, e.log = true, filepath.Join(scratch, "log")
	return e.make(ctx, filepath.Join(scratch, "entry"))
}

// needsOfError is what an error of External says that the kernel lacks.
func needsOfError(err error) needs {
	var skip *Skip
	var c *CompileError
	switch {
	case errors.As(err, &skip):
		return needs{options: skip.Options}
	case errors.As(err, &c):
		return needsOf(c)
	}
	return needs{}
}

func (g *growth) find(k *Kernel, missing needs) ([]Addition, []string, error) {
	src := os.DirFS(k.Source)
	tree, err := kconfig.ReadTree(src, k.Arch)
	if err != nil {
		return nil, nil, &Error{Fault: FaultKernel, Err: err}
	}
	file, err := os.Open(k.Config)
	if err != nil {
		return nil, nil, hostErr(err, "kernel %s", k.Key)
	}
	defer file.Close()
	have, err := kconfig.Parse(file, k.Config)
	if err != nil {
		return nil, nil, &Error{Fault: FaultKernel, Err: err}
	}
	return (&finder{src: src, arch: k.Arch, tree: tree, have: have}).find(missing)
}

// explainUnresolved adds what was looked for to the compiler's own message.
func explainUnresolved(failed error, unresolved []string) error {
	var e *Error
	var skip *Skip
	switch {
	case len(unresolved) == 0:
		return failed
	case errors.As(failed, &skip):
		return &Skip{Reason: skip.Reason + " (" + unresolved[0] + ")", Options: skip.Options}
	case !errors.As(failed, &e):
		return failed
	}
	const most = 3
	if len(unresolved) > most {
		unresolved = append(unresolved[:most:most], "…")
	}
	told := *e
	var c *CompileError
	if errors.As(failed, &c) {
		if name, dir := c.besides(unresolved); dir != "" {
			told.Err = fmt.Errorf("%w (%s exports %s, and is not built)", e.Err, dir, name)
			told.Cure = cureBeside(dir)
			return &told
		}
	}
	told.Err = fmt.Errorf("%w (%s)", e.Err, strings.Join(unresolved, "; "))
	if hopeless(unresolved) {
		told.Cure, told.proven = cureOtherKernel, true
	}
	return &told
}
