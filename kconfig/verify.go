package kconfig

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Mismatch is one option that did not survive olddefconfig.
type Mismatch struct {
	Want    Option
	Got     string // "n" where it is unset or unknown
	Unknown bool   // the kernel's Kconfig files define no such option
	Why     string // as far as the Kconfig files tell; may be empty
}

// Example: kmemleak.config:3: CONFIG_TMPFS=y, but the kernel's config has it unset (needs SHMEM (not set))
func (m Mismatch) String() string {
	got := "=" + m.Got
	switch {
	case m.Unknown:
		return fmt.Sprintf("%s: %s, but this kernel has no such option for this architecture", m.Want.Pos, m.Want)
	case m.Got == "n":
		got = " unset"
	}
	s := fmt.Sprintf("%s: %s, but the kernel's config has it%s", m.Want.Pos, m.Want, got)
	if m.Why != "" {
		s += " (" + m.Why + ")"
	}
	return s
}

// VerifyError lists every option that did not survive, one a line.
type VerifyError struct{ Mismatches []Mismatch }

func (e *VerifyError) Error() string {
	lines := make([]string, len(e.Mismatches))
	for i, m := range e.Mismatches {
		lines[i] = m.String()
	}
	return strings.Join(lines, "\n")
}

// Verify compares what was asked for with what olddefconfig, which drops in
// silence, made of it. The error is a *VerifyError. tree explains; without one
// (nil) the reasons are left out.
func Verify(want, got Fragment, tree *Tree) error {
	have := values(got)
	var bad []Mismatch
	for _, o := range want.Options {
		value := have.get(shortName(o.Name))
		if value == "" {
			value = "n"
		}
		if sameValue(o.Value, value) || o.When == WherePossible || inherited(o, have, tree) {
			continue
		}
		m := Mismatch{Want: o, Got: value}
		if tree != nil {
			m.Unknown = !tree.Knows(o.Name)
			m.Why = explainer{tree, have}.why(o)
		}
		if m.Unknown && o.When == WhereKnown {
			continue
		}
		bad = append(bad, m)
	}
	if bad == nil {
		return nil
	}
	return &VerifyError{Mismatches: bad}
}

// inherited tells whether the option is an old name, and one of today's has its value.
func inherited(o Option, have settings, tree *Tree) bool {
	if tree == nil {
		return false
	}
	s := tree.Symbol(o.Name)
	return s != nil && s.Transitional && slices.ContainsFunc(tree.heirs(s.Name), func(heir string) bool {
		return sameValue(o.Value, have.get(heir))
	})
}

// Known tells, before anything is built, which of the options no Kconfig file
// defines. The error is a *VerifyError.
func Known(want Fragment, tree *Tree) error {
	var bad []Mismatch
	for _, o := range want.Options {
		if o.Value != "n" && o.When == "" && !tree.Knows(o.Name) {
			bad = append(bad, Mismatch{Want: o, Got: "n", Unknown: true})
		}
	}
	if bad == nil {
		return nil
	}
	return &VerifyError{Mismatches: bad}
}

// sameValue knows that 0x10 and 0x0010 are one, as conf may print it either way.
func sameValue(a, b string) bool {
	if a == b {
		return true
	}
	x, errX := strconv.ParseUint(a, 0, 64)
	y, errY := strconv.ParseUint(b, 0, 64)
	return errX == nil && errY == nil && x == y
}

// settings is a .config for looking up, by names without CONFIG_.
type settings map[string]string

func values(f Fragment) settings {
	s := make(settings, len(f.Options))
	for _, o := range f.Options {
		s[shortName(o.Name)] = o.Value
	}
	return s
}

func (s settings) get(name string) string { return s[name] }

// describe says what an option has, in words.
func (s settings) describe(name string) string {
	if v := s[name]; v != "" && v != "n" {
		return name + "=" + v
	}
	return name + " not set"
}
