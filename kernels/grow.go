package kernels

import (
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/kmemgate/kmemgate/kconfig"
)

// Addition is options that a driver's kernel needs on top of the base, found
// from one thing that its build missed.
type Addition struct {
	Options []string `json:"options"` // "CONFIG_I2C=y", those needed first
	// Why says what the build missed and where the kernel has it.
	//
	// Example: i2c_add_driver is in drivers/i2c/i2c-core-base.c
	Why string `json:"why"`
}

// needs are what a driver's build says that the kernel lacks.
type needs struct {
	symbols []string // functions and variables: undefined, or not declared
	// maybe are symbols that its objects leave open beyond those that modpost told of.
	// What the kernel does not have of them, the compiler or the linker brings.
	maybe   []string
	members []string // "struct.member"
	options []string // named by the driver, without CONFIG_
	// ownOptions are the driver's own, as obj-$(CONFIG_X) names them: where the
	// kernel has one too, what that one needs is needed, but not the option.
	ownOptions []string
	guards     []string // that the driver's Makefile asks for around all that it builds
	algorithms []string // that the driver asks the crypto API for
}

func (n needs) empty() bool {
	return len(n.symbols)+len(n.maybe)+len(n.members)+len(n.options)+len(n.ownOptions)+len(n.guards)+len(n.algorithms) == 0
}

func (n needs) and(more needs) needs {
	both := func(a, b []string) []string {
		all := slices.Concat(a, b)
		slices.Sort(all)
		return slices.Compact(all)
	}
	return needs{
		symbols: both(n.symbols, more.symbols), maybe: both(n.maybe, more.maybe), members: both(n.members, more.members),
		options: both(n.options, more.options), ownOptions: both(n.ownOptions, more.ownOptions),
		guards: both(n.guards, more.guards), algorithms: both(n.algorithms, more.algorithms),
	}
}

var (
	// Example: foo.c:3:1: error: type defaults to 'int' in declaration of 'module_i2c_driver'
	macroUndefined = regexp.MustCompile(`type defaults to [‘'"]int[’'"] in declaration of [‘'"]([A-Za-z0-9_]+)`)
	// Example: foo.c:9:7: error: 'CAP_FOO' undeclared (first use in this function)
	undeclared = regexp.MustCompile(`[‘'"]([A-Za-z0-9_]+)[’'"] undeclared|use of undeclared identifier [‘'"]([A-Za-z0-9_]+)`)
	// Example: foo.c:8:9: error: invalid use of undefined type 'struct nf_sockopt_ops'
	// Example: foo.c:8:9: error: invalid application of 'sizeof' to incomplete type 'struct nf_sockopt_ops'
	undefinedType = regexp.MustCompile(`(?:undefined|incomplete) type [‘'"]struct ([A-Za-z0-9_]+)`)
	// Example: foo.c:7:9: error: 'struct net_device' has no member named 'dcbnl_ops'
	noMember = regexp.MustCompile(`no member named [‘'"]([A-Za-z0-9_]+)[’'"] in [‘'"]struct ([A-Za-z0-9_]+)|[‘'"]struct ([A-Za-z0-9_]+)[’'"] has no member named [‘'"]([A-Za-z0-9_]+)`)
)

// needsOf reads what compiler and modpost said. Nothing can be needed by a driver
// that is for another kernel.
func needsOf(failed *CompileError) needs {
	if failed.forAnotherKernel() {
		return needs{}
	}
	n := needs{symbols: append(slices.Clone(failed.Undefined), failed.Implicit...), maybe: failed.Open, options: failed.Asked}
	for _, text := range failed.Messages {
		if m := macroUndefined.FindStringSubmatch(text); m != nil {
			n.symbols = append(n.symbols, m[1])
		}
		if m := undeclared.FindStringSubmatch(text); m != nil {
			n.symbols = append(n.symbols, m[1]+m[2])
		}
		if m := undefinedType.FindStringSubmatch(text); m != nil {
			n.symbols = append(n.symbols, m[1])
		}
		if m := noMember.FindStringSubmatch(text); m != nil {
			n.members = append(n.members, m[2]+m[3]+"."+m[1]+m[4])
		}
	}
	elsewhere := func(name string) bool {
		return failed.Elsewhere[name] != "" || failed.Elsewhere[exportedName(name)] != ""
	}
	n.symbols, n.maybe = slices.DeleteFunc(n.symbols, elsewhere), slices.DeleteFunc(slices.Clone(n.maybe), elsewhere)
	for i, name := range n.symbols {
		n.symbols[i] = exportedName(name)
	}
	slices.Sort(n.symbols)
	n.symbols = slices.Compact(n.symbols)
	slices.Sort(n.members)
	n.members = slices.Compact(n.members)
	return n
}

// exportedName is what EXPORT_TRACEPOINT_SYMBOL and EXPORT_STATIC_CALL name:
// they export several symbols with prefixes.
func exportedName(symbol string) string {
	for _, p := range []string{"__tracepoint_", "__traceiter_", "__SCK__tp_func_", "__SCT__tp_func_", "__SCK__", "__SCT__"} {
		if rest, ok := strings.CutPrefix(symbol, p); ok {
			return rest
		}
	}
	return symbol
}

// finder finds the options behind what a build missed. It reads text only.
type finder struct {
	src  fs.FS
	arch string // "x86_64", "arm64"
	tree *kconfig.Tree
	have kconfig.Fragment // the kernel's .config, and what was added to it since
}

// srcarch is the folder of an architecture under arch/ in the kernel's source.
var srcarch = map[string]string{"x86_64": "x86", "arm64": "arm64"}

// find returns what to add, and a line for each thing that it knows no cure
// for. Where the source has a name nowhere, the driver is for another kernel:
// no option helps, and nothing is added.
func (f *finder) find(n needs) (added []Addition, unresolved []string, err error) {
	note := func(a *Addition, failed string) {
		if a != nil && len(a.Options) > 0 {
			added = append(added, *a)
		} else if a == nil {
			unresolved = append(unresolved, failed)
		}
	}
	for _, name := range n.options {
		note(f.enable("the driver names CONFIG_"+name, []optionSet{{name}}))
	}
	for _, name := range n.ownOptions {
		if f.tree.Knows(name) {
			note(f.surroundings(name))
		}
	}
	for _, name := range n.guards {
		if f.tree.Knows(name) {
			note(f.enable("the driver's Makefile asks for CONFIG_"+name, []optionSet{{name}}))
		}
	}
	dir := srcarch[f.arch]
	exports, err := findExports(f.src, dir, slices.Concat(n.symbols, n.maybe))
	if err != nil {
		return nil, nil, fmt.Errorf("look for the symbols in the kernel's source: %w", err)
	}
	var rest []string
	mk := newMakeIndex(f.src, dir)
	for _, name := range n.symbols {
		if len(exports[name]) == 0 {
			rest = append(rest, name)
			continue
		}
		note(f.symbol(mk, name, exports[name]))
	}
	for _, name := range n.maybe {
		if len(exports[name]) == 0 {
			continue
		}
		if a, _ := f.symbol(mk, name, exports[name]); a != nil {
			note(a, "")
		}
	}
	for _, l := range []struct {
		names []string
		look  func(fs.FS, string, []string) (map[string][]place, error)
	}{{rest, findGuarded}, {n.members, findMembers}} {
		if len(l.names) == 0 {
			continue
		}
		guarded, err := l.look(f.src, dir, l.names)
		if err != nil {
			return nil, nil, fmt.Errorf("look for the names in the kernel's headers: %w", err)
		}
		for _, name := range l.names {
			note(f.guarded(name, guarded[name]))
		}
	}
	if hopeless(unresolved) {
		return nil, unresolved, nil
	}
	algorithms, err := findAlgorithms(f.src, dir, n.algorithms)
	if err != nil {
		return nil, nil, fmt.Errorf("look for the algorithms in the kernel's source: %w", err)
	}
	for _, name := range n.algorithms {
		if a := f.algorithm(mk, name, algorithms[name]); a != nil && len(a.Options) > 0 {
			added = append(added, *a)
		}
	}
	return added, unresolved, nil
}

// noSuchThing ends the line about a name that the source does not have.
const noSuchThing = "this kernel's source has no such thing"

func hopeless(unresolved []string) bool {
	return slices.ContainsFunc(unresolved, func(s string) bool { return strings.HasSuffix(s, noSuchThing) })
}

// symbol adds what the file that exports a symbol needs.
func (f *finder) symbol(mk *makeIndex, name string, places []place) (*Addition, string) {
	var sets []optionSet
	for _, p := range places {
		for _, set := range mk.builtBy(p.file) {
			sets = append(sets, join(set, p.guards))
		}
	}
	where := name + " is in " + places[0].file
	if sets == nil {
		return nil, where + ", which no Makefile seems to build"
	}
	return f.enable(where, sets)
}

// guarded adds the option that a header asks for.
func (f *finder) guarded(name string, places []place) (*Addition, string) {
	var sets []optionSet
	if len(places) == 0 {
		return nil, name + ": " + noSuchThing
	}
	for _, p := range places {
		if len(p.guards) == 0 {
			return nil, name + " is in " + p.file + " whatever the options"
		}
		sets = append(sets, optionSet(p.guards))
	}
	return f.enable(name+" is guarded in "+places[0].file, sets)
}

// enable takes the set of options that costs least, and counts it as had from
// then on. An Addition without options: the kernel has it all already.
func (f *finder) enable(why string, sets []optionSet) (*Addition, string) {
	var best []kconfig.Option
	var reason error
	found := false
	for _, set := range sets {
		options, err := f.tree.Enable(f.have, set...)
		if err != nil {
			if reason == nil {
				reason = err
			}
			continue
		}
		if !found || len(options) < len(best) {
			best, found = options, true
		}
	}
	if !found {
		return nil, fmt.Sprintf("%s, but %v", why, reason)
	}
	a := &Addition{Why: why}
	for _, o := range best {
		a.Options = append(a.Options, o.String())
	}
	f.have = kconfig.Override(f.have, kconfig.Fragment{Options: best})
	return a, ""
}

// surroundings adds what an option needs and selects, without the option.
func (f *finder) surroundings(name string) (*Addition, string) {
	why := "the driver is built by CONFIG_" + name
	all, err := f.tree.Enable(f.have, name)
	if err != nil {
		return nil, fmt.Sprintf("%s, but %v", why, err)
	}
	a := &Addition{Why: why}
	found := f.have
	add := func(options []kconfig.Option) {
		for _, o := range options {
			if o.Name != "CONFIG_"+name {
				a.Options = append(a.Options, o.String())
				found = kconfig.Override(found, kconfig.Fragment{Options: []kconfig.Option{o}})
			}
		}
	}
	add(all)
	for _, d := range f.tree.Symbol(name).Defs {
		for _, sel := range d.Selects {
			if options, err := f.tree.Enable(found, sel.Name); err == nil && sel.If == nil {
				add(options)
			}
		}
	}
	f.have = found
	return a, ""
}
