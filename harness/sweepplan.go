package harness

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kmemgate/kmemgate/kernels"
	"github.com/kmemgate/kmemgate/reports"
)

// Choice is which modules of a kernel are swept.
type Choice struct {
	// Patterns take modules by name ("dm_*"), by path in the kernel's tree
	// ("drivers/net/*") or by directory ("crypto"); none: all. A list like
	// modules.order is a list of such paths.
	Patterns []string
	// Skip leaves modules out, each with a reason.
	Skip []SkipRule
	// Shard and Shards take every n-th module: shard 1 to n of n. 0: all.
	Shard, Shards int
}

// SkipRule leaves out what a pattern matches.
type SkipRule struct{ Pattern, Reason string }

// builtinSkips are modules whose leak or damage is what they are for.
var builtinSkips = []SkipRule{
	{"kmemleak_test", "it leaks on purpose: it is the canary of every guest"},
	{"test_lockup", "it locks up on purpose"},
	{"lkdtm", "it crashes on purpose"},
	{"rtc_test", "alarmtimer keeps a reference to the first RTC (kernel/time/alarmtimer.c): it never unloads"},
	{"test_ida", "it leaves a stale pointer to one of the canary's objects (seen on 6.12.117): there is no verdict"},
}

// turn is one module of a sweep, with the modules that it needs in the order of
// loading.
type turn struct {
	module kernels.Module
	needs  []kernels.Module
	source string // directory that file names in its debug information belong to
}

func (t turn) name() string { return t.module.Name }

func (t turn) modules() []kernels.Module { return append(slices.Clone(t.needs), t.module) }

// sweepPlan is what a sweep does with a kernel's modules.
type sweepPlan struct {
	turns   []turn
	skipped []reports.Run
}

// plan chooses among the modules of the kernel and of the extra directories.
func (s *Sweep) plan(ctx context.Context, c cell) (sweepPlan, error) {
	pool, unbuilt, err := s.pool(ctx, c)
	if err != nil {
		return sweepPlan{}, err
	}
	p := sweepPlan{skipped: unbuilt}
	chosen, err := s.Choice.choose(pool.all, pool.paths)
	if err != nil {
		return p, err
	}
	catalog, err := newCatalog(pool.all)
	if err != nil {
		return p, err
	}
	for _, m := range chosen {
		t := turn{module: m, needs: catalog.needed(m), source: pool.sources[m.Name]}
		reason, err := s.Choice.skips(t, pool.paths[m.Name], catalog)
		if err != nil {
			return p, err
		}
		if reason != "" {
			p.skipped = append(p.skipped, skippedRun(c, m.Name, reason))
			continue
		}
		p.turns = append(p.turns, t)
	}
	return p, nil
}

// sweepPool is what a sweep chooses from.
type sweepPool struct {
	all     []kernels.Module
	paths   map[string]string // by module: in the kernel's tree, or below the extra directory
	sources map[string]string // by module: the directory its files belong to
}

// pool is the kernel's modules and those of the extra directories, with a run
// for each directory that does not build: one driver must not cost the others
// their verdict.
func (s *Sweep) pool(ctx context.Context, c cell) (p sweepPool, unbuilt []reports.Run, err error) {
	if p, err = s.kernelPool(c.kernel); err != nil {
		return p, nil, err
	}
	for _, dir := range s.Extra {
		built, err := s.Gate.Builder.External(ctx, c.kernel, dir, kernels.ModuleOptions{})
		if err != nil {
			if err := c.fail(ctx, reports.ReasonBuild, err); err != nil {
				return p, nil, err
			}
			unbuilt = append(unbuilt, unbuiltRun(c, filepath.Base(dir)))
			continue
		}
		if err := p.add(dir, built, c.kernel.Source); err != nil {
			return p, nil, err
		}
	}
	return p, unbuilt, nil
}

func (s *Sweep) kernelPool(k *kernels.Kernel) (sweepPool, error) {
	p := sweepPool{paths: map[string]string{}, sources: map[string]string{}}
	all, err := s.Gate.Builder.KernelModules(k)
	if err != nil {
		return p, err
	}
	p.all = all
	for _, m := range all {
		rel, err := filepath.Rel(k.Build, m.Path)
		if err != nil {
			return p, hostError("", "sweep: %w", err)
		}
		p.paths[m.Name], p.sources[m.Name] = rel, k.Source
	}
	return p, nil
}

// add takes a directory's modules. One with the name of a module of the kernel
// takes its place, as one in updates/ does for depmod; two directories with one
// and the same are a mistake.
func (p *sweepPool) add(dir string, built []kernels.Module, kernelSource string) error {
	for _, m := range built {
		switch own := p.sources[m.Name]; own {
		case "":
		case kernelSource:
			p.all = slices.DeleteFunc(p.all, func(k kernels.Module) bool { return k.Name == m.Name })
		default:
			return Usagef("sweep: %s: its module %s has the name of %s", dir, m.Name, p.paths[m.Name])
		}
		p.paths[m.Name], p.sources[m.Name] = filepath.Join(dir, m.Name+".ko"), dir
	}
	p.all = append(p.all, built...)
	return nil
}

// choose takes the shard's part of what the patterns match, in the order of names.
func (c Choice) choose(all []kernels.Module, paths map[string]string) ([]kernels.Module, error) {
	matched := make([]bool, len(c.Patterns))
	var chosen []kernels.Module
	for _, m := range all {
		take := len(c.Patterns) == 0
		for i, p := range c.Patterns {
			ok, err := matches(p, m.Name, paths[m.Name])
			if err != nil {
				return nil, err
			}
			matched[i] = matched[i] || ok
			take = take || ok
		}
		if take {
			chosen = append(chosen, m)
		}
	}
	if i := slices.Index(matched, false); i >= 0 {
		return nil, Usagef("sweep: %q matches none of the %d modules of this kernel", c.Patterns[i], len(all))
	}
	slices.SortFunc(chosen, func(a, b kernels.Module) int { return cmp.Compare(a.Name, b.Name) })
	if c.Shards == 0 {
		return chosen, nil
	}
	var part []kernels.Module
	for i := c.Shard - 1; i < len(chosen); i += c.Shards {
		part = append(part, chosen[i])
	}
	return part, nil
}

// matches tells whether a pattern means a module.
func matches(pattern, name, file string) (bool, error) {
	plain := strings.TrimSuffix(strings.TrimSuffix(pattern, ".ko"), ".o") // modules.order has .o up to 6.1
	file = strings.TrimSuffix(file, ".ko")
	byName, err := path.Match(kernels.ModuleName(plain), name)
	if err != nil {
		return false, Usagef("sweep: %q: %w", pattern, err)
	}
	byPath, err := path.Match(plain, file)
	if err != nil {
		return false, Usagef("sweep: %q: %w", pattern, err)
	}
	return byName || byPath || strings.HasPrefix(file, strings.TrimSuffix(pattern, "/")+"/"), nil
}

// skips tells why a module is left out; empty: it is not.
func (c Choice) skips(t turn, file string, all catalog) (string, error) {
	for _, r := range slices.Concat(c.Skip, builtinSkips) {
		ok, err := matches(r.Pattern, t.name(), file)
		if err != nil {
			return "", err
		}
		if ok {
			return "left out: " + r.Reason, nil
		}
	}
	for _, m := range t.modules() {
		if all.facts[m.Name].Permanent {
			return "not applicable: " + m.Name + " has an init function and no exit function, so it cannot be unloaded", nil
		}
	}
	return "", nil
}

// catalog is all modules of a sweep, and what they say of themselves.
type catalog struct {
	modules map[string]kernels.Module
	facts   map[string]kernels.ModuleFacts
	aliases map[string]string // names of modules
}

func newCatalog(all []kernels.Module) (catalog, error) {
	c := catalog{map[string]kernels.Module{}, map[string]kernels.ModuleFacts{}, map[string]string{}}
	for _, m := range all {
		f, err := kernels.ReadFacts(m.Path)
		if err != nil {
			return c, hostError("", "sweep: module %s: %w", m.Name, err)
		}
		c.modules[m.Name], c.facts[m.Name] = m, f
		for _, alias := range f.Aliases {
			c.aliases[alias] = m.Name
		}
	}
	return c, nil
}

// needed are the modules that one needs, those needed first before the others.
func (c catalog) needed(m kernels.Module) []kernels.Module {
	var list []kernels.Module
	seen := map[string]bool{m.Name: true}
	var add func(m kernels.Module)
	add = func(m kernels.Module) {
		for _, name := range slices.Concat(c.facts[m.Name].Before, m.Depends) {
			need, ok := c.modules[cmp.Or(c.aliases[name], kernels.ModuleName(name))]
			if !ok || seen[need.Name] {
				continue
			}
			seen[need.Name] = true
			add(need)
			list = append(list, need)
		}
	}
	add(m)
	return list
}

func skippedRun(c cell, module, reason string) reports.Run {
	return reports.Run{
		Kernel: c.kernel.Release, Arch: c.arch, Scenario: module, Verdict: reports.Skipped, Reason: reason,
		Clock: c.scenario.Clock, Leaks: []reports.Leak{},
	}
}

// unbuiltRun is for a driver that did not build, or is not for this kernel.
func unbuiltRun(c cell, driver string) reports.Run {
	run := skippedRun(c, driver, "")
	if c.failure.verdict == reports.Skipped {
		run.Reason = c.failure.detail
	} else {
		run.Verdict, run.Reason, run.Detail = c.failure.verdict, c.failure.reason, c.failure.detail
	}
	return run
}

// grouped cuts turns into groups of a size, and of bounded bytes.
func grouped(turns []turn, size int) ([][]turn, error) {
	var groups [][]turn
	var bytes int64
	for _, t := range turns {
		var own int64
		for _, m := range t.modules() {
			info, err := os.Stat(m.Stripped)
			if err != nil {
				return nil, hostError("", "module %s: %w", m.Name, err)
			}
			own += info.Size()
		}
		last := len(groups) - 1
		if last < 0 || len(groups[last]) >= size || bytes+own > sweepBytes {
			groups, bytes = append(groups, nil), 0
			last++
		}
		groups[last] = append(groups[last], t)
		bytes += own
	}
	return groups, nil
}

// ParseSkips reads a list of modules to leave out, a pattern and a reason a line.
//
// Example: test_bpf  # takes minutes
func ParseSkips(name string, text []byte) ([]SkipRule, error) {
	var rules []SkipRule
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		pattern, reason, _ := strings.Cut(strings.TrimSpace(line), "#")
		pattern, reason = strings.TrimSpace(pattern), strings.TrimSpace(reason)
		switch {
		case pattern == "": // a comment
		case reason == "":
			return nil, Usagef("%s:%d: %s: give a reason: %s  # why", name, n, pattern, pattern)
		default:
			rules = append(rules, SkipRule{pattern, reason})
		}
	}
	return rules, nil
}

// ParseShard reads "2/3".
func ParseShard(text string) (shard, shards int, err error) {
	if _, err := fmt.Sscanf(text, "%d/%d", &shard, &shards); err != nil || shard < 1 || shard > shards || text != fmt.Sprintf("%d/%d", shard, shards) {
		return 0, 0, Usagef("--shard %s: want i/n, from 1/n to n/n", text)
	}
	return shard, shards, nil
}
