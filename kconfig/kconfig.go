// Package kconfig reads .config files and fragments, merges them, and checks
// that what was asked for survived olddefconfig. It knows text only, not where
// kernels come from.
package kconfig

// Position is a place in a fragment.
type Position struct {
	File string
	Line int // from 1
}

// Option is one setting. Value is what stands behind the "=", quotes included;
// "# CONFIG_X is not set" has the value "n".
type Option struct {
	Name  string // with CONFIG_
	Value string
	Pos   Position
}

// Fragment is the options of one file, in its order.
type Fragment struct {
	Name    string
	Options []Option
}
