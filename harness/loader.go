package harness

import (
	"cmp"
	"context"
	"slices"

	"github.com/kmemgate/kmemgate/kernels"
)

// loader puts modules in the order of loading.
type loader struct {
	builder *kernels.Builder
	kernel  *kernels.Kernel
	own     []kernels.Module // the driver's; they come before the kernel's of the same name
	order   []kernels.Module

	placing map[string]bool   // that wait for their needs
	names   map[string]string // of the kernel's modules, by alias too; nil: not read yet
}

func (l *loader) has(name string) bool {
	return slices.ContainsFunc(l.order, func(m kernels.Module) bool { return m.Name == name })
}

// add puts the module at the end of the order, behind what it needs: modules
// whose symbols it uses, and those that its softdep names, as modprobe does.
// Circles of symbols were refused (kernels.loadOrder), one of wishes is broken
// where it closes.
func (l *loader) add(ctx context.Context, name string) error {
	if l.has(name) || l.placing[name] {
		return nil
	}
	m, err := l.find(ctx, name)
	if err != nil {
		return err
	}
	if l.placing == nil {
		l.placing = map[string]bool{}
	}
	l.placing[name] = true
	if err := l.addWished(ctx, m); err != nil {
		return err
	}
	for _, need := range m.Depends {
		if err := l.add(ctx, need); err != nil {
			return err
		}
	}
	l.order = append(l.order, m)
	return nil
}

// find is the driver's module of that name, else the kernel's.
func (l *loader) find(ctx context.Context, name string) (kernels.Module, error) {
	if i := slices.IndexFunc(l.own, func(m kernels.Module) bool { return m.Name == name }); i >= 0 {
		return l.own[i], nil
	}
	list, err := l.builder.KernelModule(ctx, l.kernel, name)
	if err != nil {
		return kernels.Module{}, err
	}
	return list[len(list)-1], nil
}

// addWished adds what the softdep of a module names, as far as it is there: what
// is built in, or in no kernel of this configuration, is no reason to fail.
func (l *loader) addWished(ctx context.Context, m kernels.Module) error {
	facts, err := kernels.ReadFacts(m.Path)
	if err != nil {
		return hostError("", "%w", err)
	}
	for _, wish := range facts.Before {
		name, err := l.named(wish)
		if err != nil {
			return err
		}
		if name == "" {
			continue
		}
		if err := l.add(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// named is the module that a softdep means by its name or an alias; empty: none
// that could be loaded.
func (l *loader) named(wish string) (string, error) {
	if l.names == nil {
		list, err := l.builder.KernelModules(l.kernel)
		if err != nil {
			return "", err
		}
		l.names = map[string]string{}
		for _, m := range append(list, l.own...) { // the driver's own win
			facts, err := kernels.ReadFacts(m.Path)
			if err != nil {
				return "", hostError("", "%w", err)
			}
			l.names[m.Name] = m.Name
			for _, alias := range facts.Aliases {
				l.names[alias] = m.Name
			}
		}
	}
	return cmp.Or(l.names[kernels.ModuleName(wish)], l.names[wish]), nil
}
