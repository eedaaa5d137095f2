package kconfig

import (
	"slices"
	"sort"
)

// Tree is what a kernel's Kconfig files say for one architecture.
type Tree struct {
	// Unread are the lines that the reader did not understand, as file:line errors:
	// a newer kernel's syntax. Everything else is read all the same.
	Unread []error

	symbols map[string]*Symbol
}

// Symbol is one option of a kernel: everything its Kconfig files say of it.
type Symbol struct {
	Name string // without CONFIG_, as Kconfig has it
	Type string // bool, tristate, int, hex, string; "" where no file says
	Defs []*Definition
	// SelectedBy and ImpliedBy are the options that turn it on; Name is theirs.
	SelectedBy, ImpliedBy []Reverse
	// Transitional is an old name: olddefconfig reads it, hands its value to the
	// options that default to it, and writes it no more.
	Transitional bool
}

// Definition is one "config NAME" block. A symbol may have several; any of them
// can make it available.
type Definition struct {
	Pos      Position
	Prompt   string // "" where nobody can set it by hand
	PromptIf *Expr  // what the prompt needs beyond Depends
	Depends  *Expr  // its own, and those of the menus and ifs around it
	Selects  []Reverse
	Implies  []Reverse
	Defaults []Default
	Ranges   []Range
	Choice   *Choice // nil outside of a choice
}

// Reverse is a select or imply. It holds where If and the definition's Depends do.
type Reverse struct {
	Name string
	If   *Expr
}

// Default is a value that an option has where nobody sets it.
type Default struct{ Value, If *Expr }

// Range bounds an int or hex option; Low and High are numbers or symbols.
type Range struct {
	Low, High string
	If        *Expr
}

// Choice is a group of which one member is on.
type Choice struct {
	Pos     Position
	Prompt  string
	Members []string
}

// Knows tells whether the kernel defines the option, with or without CONFIG_.
func (t *Tree) Knows(name string) bool { return t.Symbol(name) != nil }

// Symbol is what the Kconfig files say of an option, nil where they say nothing.
func (t *Tree) Symbol(name string) *Symbol {
	if s := t.symbols[shortName(name)]; s != nil && len(s.Defs) > 0 {
		return s
	}
	return nil
}

// Names are all options that the kernel defines, sorted, without CONFIG_.
func (t *Tree) Names() []string {
	var names []string
	for name, s := range t.symbols {
		if len(s.Defs) > 0 {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names
}

// symbol makes the symbol where it is not there yet: a select may come first.
func (t *Tree) symbol(name string) *Symbol {
	s := t.symbols[name]
	if s == nil {
		s = &Symbol{Name: name}
		t.symbols[name] = s
	}
	return s
}

// heirs are the options that take an old name's value, by name.
func (t *Tree) heirs(name string) []string {
	return slices.DeleteFunc(t.Names(), func(heir string) bool {
		return !slices.ContainsFunc(t.symbols[heir].Defs, func(d *Definition) bool {
			return slices.ContainsFunc(d.Defaults, func(v Default) bool { return v.Value.String() == name })
		})
	})
}

// link tells every symbol who selects and implies it.
func (t *Tree) link() {
	for _, name := range t.Names() {
		for _, d := range t.symbols[name].Defs {
			for _, r := range d.Selects {
				to := t.symbol(r.Name)
				to.SelectedBy = append(to.SelectedBy, Reverse{Name: name, If: and(d.Depends, r.If)})
			}
			for _, r := range d.Implies {
				to := t.symbol(r.Name)
				to.ImpliedBy = append(to.ImpliedBy, Reverse{Name: name, If: and(d.Depends, r.If)})
			}
		}
	}
}

// HasPrompt tells whether anybody can set the option by hand; others come by
// select and by default only.
func (s *Symbol) HasPrompt() bool {
	for _, d := range s.Defs {
		if d.Prompt != "" {
			return true
		}
	}
	return false
}
