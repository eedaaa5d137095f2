// Package kconfig reads .config files and fragments, merges them, and checks
// that what was asked for survived olddefconfig. It knows text only, not where
// kernels come from.
package kconfig

import (
	"fmt"
	"strings"
)

// Position is a place in a fragment or in a Kconfig file.
type Position struct {
	File string
	Line int // from 1
}

func (p Position) String() string { return fmt.Sprintf("%s:%d", p.File, p.Line) }

// Option is one setting. Value is what stands behind the "=", quotes included;
// "# CONFIG_X is not set" has the value "n".
type Option struct {
	Name  string // with CONFIG_
	Value string
	Pos   Position
	// When says which kernels are meant; empty means all of them.
	When Condition
}

// String is the setting as a fragment writes it, always in the form with "=".
func (o Option) String() string { return o.Name + "=" + o.Value }

// Condition is what the comment line before an option says about the kernels
// that it is meant for. Whatever has no such line must survive everywhere.
//
//	# where known: came in 5.4
//	CONFIG_A=y
type Condition string

// The conditions; Base resolves WhereKnown and Else, Verify knows WherePossible.
const (
	// WhereKnown options are left out for kernels that have no such option.
	WhereKnown Condition = "where known"
	// WherePossible options are wanted, but some kernels or compilers forbid
	// them; what uses them asks the kernel's .config.
	WherePossible Condition = "where possible"
	// Else options take the place of the option before them where the kernel
	// does not know that one: an option that was renamed.
	Else Condition = "else"
)

// Fragment is the options of one file, in its order.
type Fragment struct {
	Name    string
	Options []Option
}

// Get finds an option by its name, with or without CONFIG_.
func (f Fragment) Get(name string) (Option, bool) {
	name = fullName(name)
	for _, o := range f.Options {
		if o.Name == name {
			return o, true
		}
	}
	return Option{}, false
}

// prefix stands before every option in .config files and C sources, and before
// none in Kconfig files.
const prefix = "CONFIG_"

func fullName(name string) string {
	if strings.HasPrefix(name, prefix) {
		return name
	}
	return prefix + name
}

func shortName(name string) string { return strings.TrimPrefix(name, prefix) }
