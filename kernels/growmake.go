package kernels

import (
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

// makeIndex reads the kernel's Makefiles for one question: which options build
// a file? They are read as text; make would need a configured tree to answer,
// and then only for what is on already.
type makeIndex struct {
	src   fs.FS
	arch  string // its folder under arch/
	rules map[string][]makeRule
}

// makeRule is one assignment of objects or directories.
//
// Example: i2c-core-$(CONFIG_ACPI) += i2c-core-acpi.o
type makeRule struct {
	target  string   // "obj", the name of a composite object, or "$(VAR)"
	options []string // that the line and the conditionals around it ask for
	guards  []string // those of them that only the conditionals name
	values  []string
}

func newMakeIndex(src fs.FS, arch string) *makeIndex {
	return &makeIndex{src: src, arch: arch, rules: map[string][]makeRule{}}
}

// optionSet is the options that a file is built by, all of them.
type optionSet []string

// maxMakeDepth bounds the way from a file up to the root: composites of composites.
const maxMakeDepth = 24

// builtBy returns the sets of options of which each alone has the file built;
// an empty set means always. None: no Makefile names it.
func (m *makeIndex) builtBy(file string) []optionSet {
	object := strings.TrimSuffix(file, path.Ext(file)) + ".o"
	return distinct(m.object(object, 0))
}

func (m *makeIndex) object(object string, depth int) []optionSet {
	if depth > maxMakeDepth {
		return nil
	}
	var all []optionSet
	for dir := path.Dir(object); ; dir = path.Dir(dir) {
		all = append(all, m.named(dir, strings.TrimPrefix(object, dir+"/"), depth)...)
		if dir == "." {
			return all
		}
	}
}

// named follows the assignments in one directory that name something.
func (m *makeIndex) named(dir, name string, depth int) []optionSet {
	if depth > maxMakeDepth {
		return nil
	}
	var all []optionSet
	for _, r := range m.dirRules(dir) {
		if !slices.Contains(r.values, name) {
			continue
		}
		var up []optionSet
		switch {
		case r.target == "obj":
			up = m.directory(dir, depth+1)
		case strings.HasPrefix(r.target, "$("):
			up = m.named(dir, r.target, depth+1)
		default:
			up = m.object(path.Join(dir, r.target+".o"), depth+1)
		}
		for _, set := range up {
			all = append(all, join(set, r.options))
		}
	}
	return all
}

// directory returns what has a directory entered.
func (m *makeIndex) directory(dir string, depth int) []optionSet {
	if dir == "." || dir == "arch/"+m.arch {
		return []optionSet{{}}
	}
	for up := path.Dir(dir); ; up = path.Dir(up) {
		var sets []optionSet
		for _, name := range []string{strings.TrimPrefix(dir, up+"/") + "/", dir + "/"} { // arch Makefiles name paths from the root
			sets = append(sets, m.named(up, name, depth)...)
		}
		if sets != nil {
			return sets
		}
		if up == "." {
			break
		}
	}
	if !strings.Contains(dir, "/") || strings.HasPrefix(dir, "arch/"+m.arch+"/") {
		return []optionSet{{}} // the top Makefile's own ways
	}
	return nil
}

func (m *makeIndex) dirRules(dir string) []makeRule {
	rules, ok := m.rules[dir]
	if !ok {
		for _, name := range []string{"Kbuild", "Makefile"} {
			if text, err := fs.ReadFile(m.src, path.Join(dir, name)); err == nil {
				rules = append(rules, parseMakefile(string(text))...)
			}
		}
		m.rules[dir] = rules
	}
	return rules
}

var (
	assignment = regexp.MustCompile(`^\s*([^\s:=+?#][^:=+?#]*?)\s*(?:\+=|:=|\?=|=)\s*(.*)$`)
	listName   = regexp.MustCompile(`^(.+?)-(?:objs-)?(?:y|m|objs|\$\(.*\))$`)
	configName = regexp.MustCompile(`\bCONFIG_([A-Za-z0-9_]+)`)
	variable   = regexp.MustCompile(`\$[({]([A-Za-z0-9_.-]+)[)}]`)
)

// topLists are the lists of the top Makefile and arch Makefiles that are
// entered like obj-y.
var topLists = []string{"obj", "lib", "libs", "core", "drivers", "net", "virt", "init"}

// parseMakefile reads the assignments that could name objects.
func parseMakefile(text string) []makeRule {
	var rules []makeRule
	var conds conditions
	for line := range strings.SplitSeq(joinLines(text), "\n") {
		line, _, _ = strings.Cut(line, "#")
		if conds.line(strings.TrimSpace(line)) || strings.HasPrefix(line, "\t") {
			continue
		}
		a := assignment.FindStringSubmatch(line)
		if a == nil {
			continue
		}
		r := makeRule{target: "$(" + a[1] + ")", guards: conds.options()}
		r.options = append(slices.Clone(r.guards), configNames(a[1])...)
		if l := listName.FindStringSubmatch(a[1]); l != nil {
			r.target = l[1]
			if slices.Contains(topLists, l[1]) {
				r.target = "obj"
			}
		}
		r.values = append(r.values, strings.Fields(variable.ReplaceAllString(a[2], " $$($1) "))...)
		rules = append(rules, r)
	}
	return rules
}

func joinLines(text string) string { return strings.ReplaceAll(text, "\\\n", " ") }

func configNames(text string) []string {
	var names []string
	for _, m := range configName.FindAllStringSubmatch(text, -1) {
		names = append(names, m[1])
	}
	return names
}

// conditions are the ifdef and ifeq around a line. What they ask to be off or
// what asks for no option is left out: Verify has the last word.
type conditions []condition

type condition struct {
	option  string
	negated bool
}

// line takes a conditional's line, and tells whether it was one.
//
// Example: ifeq ($(CONFIG_I2C_MUX),y)
func (c *conditions) line(text string) bool {
	word, rest, _ := strings.Cut(text, " ")
	switch word {
	case "ifdef", "ifndef", "ifeq", "ifneq":
		next := condition{negated: word == "ifndef"}
		if names := configNames(rest); names != nil {
			next.option = names[0]
		}
		if word == "ifeq" || word == "ifneq" {
			off := strings.HasSuffix(rest, ",)") || strings.HasSuffix(rest, ",n)")
			next.negated = off == (word == "ifeq")
		}
		*c = append(*c, next)
	case "else":
		if n := len(*c); n > 0 {
			(*c)[n-1].negated = !(*c)[n-1].negated
		}
	case "endif":
		if n := len(*c); n > 0 {
			*c = (*c)[:n-1]
		}
	default:
		return false
	}
	return true
}

func (c conditions) options() []string {
	var names []string
	for _, cond := range c {
		if cond.option != "" && !cond.negated {
			names = append(names, cond.option)
		}
	}
	return names
}

func join(a optionSet, b []string) optionSet {
	all := append(append(optionSet{}, a...), b...)
	slices.Sort(all)
	return slices.Compact(all)
}

func distinct(sets []optionSet) []optionSet {
	var out []optionSet
	for _, s := range sets {
		if !slices.ContainsFunc(out, func(o optionSet) bool { return slices.Equal(o, s) }) {
			out = append(out, s)
		}
	}
	return out
}
