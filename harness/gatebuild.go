package harness

import (
	"context"
	"path/filepath"
	"strings"

	"github.com/kmemgate/kmemgate/kernels"
	"github.com/kmemgate/kmemgate/scenarios"
)

// buildModules fills in the cell's modules, in the order of loading: the
// driver's own or the ones of the kernel's tree that the scenario names, each
// after what it needs.
func (g *Gate) buildModules(ctx context.Context, c *cell) error {
	s := c.scenario
	var own []kernels.Module
	if len(s.Build) > 0 {
		dir, opts := driverOf(s)
		d, err := g.Builder.Driver(ctx, c.kernel, dir, opts)
		if err != nil {
			return err
		}
		own, c.kernel = d.Modules, d.Kernel
		if len(d.Added) > 0 {
			g.status("%s %s: the kernel has grown by what %s needs; kmemgate.yml may keep it as\nkconfig: [%s]",
				c.kernel.Release, c.arch, s.Name, strings.Join(d.KconfigLines(), ", "))
		}
	}
	wanted, err := wantedModules(s, own)
	if err != nil {
		return err
	}
	l := loader{builder: g.Builder, kernel: c.kernel, own: own}
	c.tested = map[string]bool{}
	for _, name := range wanted {
		c.tested[name] = true
		if err := l.add(ctx, name); err != nil {
			return err
		}
	}
	c.modules = l.order
	return nil
}

// driverOf is the driver's directory: the one to build, or that above all the
// parts that are built by themselves.
func driverOf(s *scenarios.Scenario) (string, kernels.ModuleOptions) {
	if len(s.Build) == 1 {
		return filepath.Join(s.Dir, s.Build[0]), kernels.ModuleOptions{}
	}
	return s.Dir, kernels.ModuleOptions{Parts: s.Build}
}

// wantedModules are the modules under test: those that the scenario names, or
// all that were built.
func wantedModules(s *scenarios.Scenario, own []kernels.Module) ([]string, error) {
	var names []string
	for _, m := range s.Modules {
		names = append(names, kernels.ModuleName(m.Name))
	}
	if len(names) > 0 {
		return names, nil
	}
	for _, m := range own {
		names = append(names, m.Name)
	}
	if len(names) == 0 {
		return nil, Usagef("%s: nothing to load: name modules, or a directory to build", filepath.Join(s.Dir, scenarios.FileName))
	}
	return names, nil
}
