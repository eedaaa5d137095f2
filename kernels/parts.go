package kernels

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// driverPart is one directory of a driver that is built by itself. Most drivers
// are one.
type driverPart struct {
	dir  string // relative to the driver's
	kind driverKind
}

// parts are the directories to build, relative to the driver's.
func (o ModuleOptions) parts() []string {
	if len(o.Parts) == 0 {
		return []string{"."}
	}
	return o.Parts
}

// planParts tells how each part is built, and the options that make has to be
// told: those of all to each, as .config would have them in a kernel's tree.
func planParts(k *Kernel, dir string, opts ModuleOptions) (parts []driverPart, own []string, err error) {
	for _, part := range opts.parts() {
		if !filepath.IsLocal(part) {
			return nil, nil, usageErr("name a directory below it", "driver %s: %s lies outside of it", dir, part)
		}
		kind, names, err := inspect(filepath.Join(dir, part))
		if err != nil {
			return nil, nil, err
		}
		passed, err := names.passed(k)
		if err != nil {
			return nil, nil, err
		}
		parts, own = append(parts, driverPart{dir: part, kind: kind}), append(own, passed...)
	}
	if len(parts) > 1 {
		own = compacted(own)
	}
	return parts, own, nil
}

// around is the directory that holds the driver's and all that its parts reach into.
func around(dir string, parts []string) (string, error) {
	root, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for _, part := range parts {
		above, err := surroundings(filepath.Join(dir, part))
		if err != nil {
			return "", hostErr(err, "driver %s", dir)
		}
		if len(above) < len(root) { // both are above the part, so the one holds the other
			root = above
		}
	}
	return root, nil
}

// partsDone is what the parts that were built leave to the later ones.
type partsDone struct {
	modules []string          // their files
	from    map[string]string // the part of each
	symbols []string          // files: their Module.symvers
	exports map[string]string // symbols, and the part that exports each
}

// buildParts builds the parts, each told what those before it export. A probe
// goes on behind a part that fails, to see what the others miss.
func (e *externalBuild) buildParts(ctx context.Context, log *os.File, work string) ([]string, error) {
	done := &partsDone{from: map[string]string{}, exports: map[string]string{}}
	var failed []error
	for i := range e.parts {
		r := e.partRun(i, log, work, done)
		files, err := r.part(ctx)
		if err == nil {
			err = r.leave(files)
		} else if e.probe && ctx.Err() == nil && i < len(e.parts)-1 {
			failed = append(failed, err)
			err = r.leaveFailed(ctx)
		}
		if err != nil {
			failed = append(failed, err)
			break
		}
	}
	if failed != nil {
		return nil, together(failed)
	}
	return done.modules, nil
}

// partRun is the build of one part. Those that make alone builds share one copy
// of the driver, in which a part finds what an earlier one made; dkms has a
// layout of its own for each.
func (e *externalBuild) partRun(i int, log *os.File, work string, done *partsDone) *driverRun {
	p := e.parts[i]
	copied := "tree"
	if p.kind == kindDKMS {
		copied = fmt.Sprintf("dkms-%d", i)
	}
	return &driverRun{externalBuild: e, log: log, n: i, kind: p.kind, dir: filepath.Join(e.dir, p.dir), work: filepath.Join(work, copied), done: done}
}

func (r *driverRun) part(ctx context.Context) ([]string, error) {
	build := r.plain
	if r.kind == kindDKMS {
		build = r.dkms
	}
	files, err := build(ctx)
	var skip *Skip
	if len(r.parts) > 1 && errors.As(err, &skip) {
		err = &Skip{Reason: r.parts[r.n].dir + ": " + skip.Reason, Options: skip.Options}
	}
	return files, err
}

// extraSymbols tells modpost what the earlier parts export.
func (r *driverRun) extraSymbols() []string {
	if len(r.done.symbols) == 0 {
		return nil
	}
	return []string{"KBUILD_EXTRA_SYMBOLS=" + strings.Join(r.done.symbols, " ")}
}

// leave hands the part's modules and symbols to the later ones. A module that is
// a copy of an earlier part's, as Makefiles make them, is no second one.
func (r *driverRun) leave(files []string) error {
	for _, file := range files {
		old := slices.IndexFunc(r.done.modules, func(had string) bool { return filepath.Base(had) == filepath.Base(file) })
		if old < 0 {
			r.done.modules, r.done.from[file] = append(r.done.modules, file), r.parts[r.n].dir
			continue
		}
		if had := r.done.modules[old]; !sameContent(had, file) {
			return &Error{Fault: FaultDriver, Err: fmt.Errorf("%s: %s and %s both build a module %s, and they differ",
				r.externalBuild.dir, r.done.from[had], r.parts[r.n].dir, ModuleName(filepath.Base(file))),
				Cure: "leave one of the directories out of build: of kmemgate.yml, or rename the module"}
		}
	}
	return r.leaveSymbols()
}

func sameContent(a, b string) bool {
	x, err1 := os.ReadFile(a)
	y, err2 := os.ReadFile(b)
	return err1 == nil && err2 == nil && bytes.Equal(x, y)
}

const symversFile = "Module.symvers"

func (r *driverRun) leaveSymbols() error {
	if len(r.parts) == 1 || r.out == "" {
		return nil
	}
	found, err := findFiles(r.out, symversFile)
	if err != nil {
		return hostErr(err, "driver %s", r.dir)
	}
	for _, name := range found {
		file := filepath.Join(r.out, name)
		text, err := os.ReadFile(file)
		if err != nil {
			return hostErr(err, "driver %s", r.dir)
		}
		same := func(had string) bool { return had == file || sameContent(had, file) } // no symbol may be in two: modpost of 6.1 and 6.12
		if len(text) == 0 || filepath.Base(name) != symversFile || slices.ContainsFunc(r.done.symbols, same) {
			continue
		}
		r.done.symbols = append(r.done.symbols, file)
		r.exporting(symversNames(string(text)))
	}
	return nil
}

// leaveFailed goes by the source for what a part exports that did not build.
func (r *driverRun) leaveFailed(ctx context.Context) error {
	names, err := exportedBy(ctx, r.dir)
	if err != nil {
		return hostErr(err, "driver %s", r.dir)
	}
	r.exporting(names)
	return r.leaveSymbols()
}

func (r *driverRun) exporting(names []string) {
	for _, name := range names {
		r.done.exports[name] = r.parts[r.n].dir
	}
}

// symversNames are the symbols of a Module.symvers.
//
// Example: 0x00000000	core_helper	core/core	EXPORT_SYMBOL_GPL
func symversNames(text string) (names []string) {
	for line := range strings.Lines(text) {
		if fields := strings.Split(line, "\t"); len(fields) > 2 {
			names = append(names, fields[1])
		}
	}
	return names
}

// exportedBy are the symbols that the C files of a directory export.
func exportedBy(ctx context.Context, dir string) (names []string, err error) {
	text, err := allOfC(ctx, dir)
	if err != nil {
		return nil, err
	}
	for _, m := range exportLine.FindAllSubmatch(text, -1) {
		names = append(names, string(m[1]))
	}
	return names, nil
}

// elsewhere are the symbols that other parts of the driver export, and which:
// where this one misses them, the kernel is not to be asked for them.
func (r *driverRun) elsewhere(ctx context.Context) map[string]string {
	if len(r.parts) == 1 {
		return nil
	}
	all := map[string]string{}
	for _, p := range r.parts[r.n+1:] {
		names, err := exportedBy(ctx, filepath.Join(r.externalBuild.dir, p.dir))
		if err != nil {
			continue // its own build will say so
		}
		for _, name := range names {
			all[name] = p.dir
		}
	}
	for name, part := range r.done.exports {
		all[name] = part
	}
	return all
}

// cureOrder is what to do where a part misses what a later one exports.
func (r *driverRun) cureOrder(c *CompileError) string {
	for _, name := range slices.Concat(c.Undefined, c.Implicit) {
		part, ok := c.Elsewhere[name]
		if later := r.parts[r.n+1:]; ok && slices.ContainsFunc(later, func(p driverPart) bool { return p.dir == part }) {
			return fmt.Sprintf("%s exports %s: name it before %s in build: of kmemgate.yml", part, name, r.parts[r.n].dir)
		}
	}
	return ""
}

// together is what the probe of several parts says: what all of them miss, but
// nothing of the kind where one is for another kernel or fails in another way.
func together(failed []error) error {
	var merged CompileError
	for i, err := range failed {
		var c *CompileError
		if !errors.As(err, &c) || c.forAnotherKernel() {
			return err
		}
		if i == 0 {
			merged = CompileError{Log: c.Log, Err: c.Err, Elsewhere: map[string]string{}}
		}
		merged.Messages = append(merged.Messages, c.Messages...)
		merged.Undefined = append(merged.Undefined, c.Undefined...)
		merged.Implicit = append(merged.Implicit, c.Implicit...)
		for name, part := range c.Elsewhere {
			merged.Elsewhere[name] = part
		}
	}
	var first *Error
	if len(failed) == 1 || !errors.As(failed[0], &first) {
		return failed[0]
	}
	return &Error{Fault: first.Fault, Err: &merged, Log: first.Log, Cure: first.Cure}
}
