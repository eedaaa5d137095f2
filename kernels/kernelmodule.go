package kernels

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// KernelModule returns a module of the kernel's own tree, such as
// kmemleak-test, after the modules it needs: in the order of loading.
func (b *Builder) KernelModule(ctx context.Context, k *Kernel, name string) ([]Module, error) {
	files, err := k.moduleFiles()
	if err != nil {
		return nil, err
	}
	want := ModuleName(name)
	if _, ok := files[want]; !ok {
		return nil, &Error{
			Fault: FaultKernel, Err: fmt.Errorf("%s has no module %s", k.Release, name),
			Cure: "turn its option on, with =m, by kconfig: in kmemgate.yml",
		}
	}
	var all []Module
	seen := map[string]bool{}
	for todo := []string{want}; len(todo) > 0; todo = todo[1:] {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if file, ok := files[todo[0]]; ok && !seen[todo[0]] {
			m, err := k.openModule(file)
			if err != nil {
				return nil, err
			}
			seen[m.Name] = true
			all = append(all, m)
			todo = append(todo, m.Depends...)
		}
	}
	return loadOrder(all)
}

// KernelModules returns all modules of the kernel's own tree, in an order in
// which they can be loaded.
func (b *Builder) KernelModules(k *Kernel) ([]Module, error) {
	files, err := k.moduleFiles()
	if err != nil {
		return nil, err
	}
	var all []Module
	for _, name := range sortedKeys(files) {
		m, err := k.openModule(files[name])
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return loadOrder(all)
}

// moduleFiles maps the names of the kernel's own modules to their files.
func (k *Kernel) moduleFiles() (map[string]string, error) {
	files, err := findFiles(k.Build, ".ko")
	if err != nil {
		return nil, hostErr(err, "modules of %s", k.Release)
	}
	byName := map[string]string{}
	for _, file := range files {
		byName[ModuleName(filepath.Base(file))] = filepath.Join(k.Build, file)
	}
	return byName, nil
}

// builtIn tells whether a module of that name is part of the kernel itself. Build
// trees without the list have none.
//
// Example: kernel/lib/crc32.ko
func (k *Kernel) builtIn(name string) (bool, error) {
	text, err := os.ReadFile(filepath.Join(k.Build, "modules.builtin"))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, hostErr(err, "modules of %s", k.Release)
	}
	for line := range strings.Lines(string(text)) {
		if ModuleName(path.Base(strings.TrimSpace(line))) == name {
			return true, nil
		}
	}
	return false, nil
}

func (k *Kernel) openModule(file string) (Module, error) {
	info, err := readModInfo(file)
	if err == nil {
		err = info.fits(k)
	}
	if err != nil {
		return Module{}, &Error{Fault: FaultKernel, Err: err}
	}
	return Module{
		Name: ModuleName(filepath.Base(file)), Path: file,
		Stripped: filepath.Join(k.Dir, "stripped", filepath.Base(file)), Depends: info.depends,
	}, nil
}

// Prebuilt takes a module that somebody else built: it must be for this very
// kernel. It is loaded as it is.
func (b *Builder) Prebuilt(k *Kernel, file string) (Module, error) {
	info, err := readModInfo(file)
	if err == nil {
		err = info.fits(k)
	}
	if err != nil {
		return Module{}, &Error{Fault: FaultDriver, Err: err, Cure: "build it from its source: kmemgate run DIR"}
	}
	return Module{Name: info.name, Path: file, Stripped: file, Depends: info.depends}, nil
}

// relativeTo cuts a directory off the paths in a compiler's message.
func relativeTo(dir, text string) string {
	return strings.ReplaceAll(text, dir+"/", "")
}
