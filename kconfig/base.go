package kconfig

import (
	"embed"
	"fmt"
)

//go:embed fragments/*.config
var fragments embed.FS

// Base is what every kernel of ours has on top of tinyconfig: the embedded
// fragments for one architecture, in the names that the kernel knows. What it
// cannot have is either marked so in the fragment or left for Verify to report.
func Base(tree *Tree, arch string) (Fragment, error) {
	if _, ok := sourceArch[arch]; !ok {
		return Fragment{}, fmt.Errorf("base config: architecture %q: want x86_64 or arm64", arch)
	}
	var parts []Fragment
	for _, name := range []string{"base", "kmemleak", arch} {
		f, err := embedded(name)
		if err != nil {
			return Fragment{}, err
		}
		parts = append(parts, f)
	}
	all, err := Merge(parts...)
	if err != nil {
		return Fragment{}, fmt.Errorf("base config: %w", err)
	}
	all.Name = "base/" + arch
	return resolve(all, tree), nil
}

// Sweep is the fragment of modules that kmemgate sweep builds on top of the base.
func Sweep() (Fragment, error) { return embedded("sweep") }

func embedded(name string) (Fragment, error) {
	file := name + ".config"
	in, err := fragments.Open("fragments/" + file)
	if err != nil {
		return Fragment{}, fmt.Errorf("base config: %w", err)
	}
	defer in.Close()
	return Parse(in, file)
}

// resolve leaves out what is marked for other kernels, and of renamed options
// takes the name that the kernel knows. Where it knows none of the names, the
// first stays, so that Verify speaks of it.
func resolve(f Fragment, tree *Tree) Fragment {
	if tree == nil {
		return f
	}
	out := Fragment{Name: f.Name}
	for _, o := range f.Options {
		known := tree.Knows(o.Name)
		switch {
		case o.When == WhereKnown && !known:
			continue
		case o.When == WhereKnown:
			o.When = ""
		case o.When == Else:
			last := len(out.Options) - 1
			if last < 0 || tree.Knows(out.Options[last].Name) || !known {
				continue
			}
			out.Options, o.When = out.Options[:last], ""
		}
		out.Options = append(out.Options, o)
	}
	return out
}
