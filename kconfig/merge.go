package kconfig

import (
	"errors"
	"fmt"
	"strings"
)

// builder adds options to a fragment and refuses contradictions.
type builder struct {
	frag Fragment
	at   map[string]int
	errs []error
}

func newBuilder(name string) *builder {
	return &builder{frag: Fragment{Name: name}, at: map[string]int{}}
}

func (b *builder) add(o Option) error {
	i, have := b.at[o.Name]
	if !have {
		b.at[o.Name] = len(b.frag.Options)
		b.frag.Options = append(b.frag.Options, o)
		return nil
	}
	first := &b.frag.Options[i]
	if first.Value != o.Value {
		err := fmt.Errorf("%s: %s, but %s has %s: drop one of them", o.Pos, o, first.Pos, first)
		b.errs = append(b.errs, err)
		return err
	}
	if o.When == "" {
		first.When = "" // who wants it everywhere wins over who can do without
	}
	return nil
}

// Merge joins fragments of equal rank. Two that set one option differently are
// an error that names both lines, and every such pair is listed.
func Merge(frags ...Fragment) (Fragment, error) {
	b := newBuilder(joinNames(frags))
	for _, f := range frags {
		for _, o := range f.Options {
			_ = b.add(o) // kept in b.errs
		}
	}
	return b.frag, errors.Join(b.errs...)
}

// Override lays fragments over a base: the last to set an option wins, in the
// place where the option stood first.
func Override(base Fragment, over ...Fragment) Fragment {
	all := append([]Fragment{base}, over...)
	out := Fragment{Name: joinNames(all)}
	at := map[string]int{}
	for _, f := range all {
		for _, o := range f.Options {
			if i, have := at[o.Name]; have {
				out.Options[i] = o
				continue
			}
			at[o.Name] = len(out.Options)
			out.Options = append(out.Options, o)
		}
	}
	return out
}

func joinNames(frags []Fragment) string {
	var names []string
	for _, f := range frags {
		if f.Name != "" {
			names = append(names, f.Name)
		}
	}
	return strings.Join(names, "+")
}
