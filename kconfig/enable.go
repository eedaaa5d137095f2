package kconfig

import (
	"errors"
	"fmt"
	"maps"
	"sort"
)

// Enable works out what must be set on top of a kernel's .config so that the
// named options are on, each with what it depends on; options that nobody can
// set by hand are reached through their defaults or the cheapest that selects
// them. It reads the Kconfig files only; olddefconfig and Verify have the last
// word. Positions are those of the Kconfig definitions.
func (t *Tree) Enable(have Fragment, names ...string) ([]Option, error) {
	s := &solver{tree: t, have: values(have), steps: new(int), state: newState()}
	for _, name := range names {
		if err := s.enable(shortName(name), 0); err != nil {
			return nil, fmt.Errorf("turn on CONFIG_%s: %w", shortName(name), err)
		}
	}
	return s.options(), nil
}

// What bounds the search. A driver's option needs a dozen others at most; the
// steps keep a chain of selects with hundreds of selectors to a second.
const (
	maxNeeds = 12
	maxSteps = 60000
)

// weight makes the search prefer what costs little. Each option counts ten, and
// one for everything it selects: big drivers select much. The named ones bring
// in more code than all else in a small kernel, or change what others default to.
func weight(sym *Symbol) int {
	w := 10
	switch sym.Name {
	case "COMPILE_TEST", "STAGING", "KUNIT":
		w = 200
	case "NET", "ACPI", "DRM", "USB_SUPPORT", "SOUND", "MEDIA_SUPPORT":
		w = 80
	}
	for _, d := range sym.Defs {
		w += len(d.Selects)
	}
	return w
}

// state is what one line of the search has decided.
type state struct {
	set      map[string]Level // to be written into the fragment
	selected map[string]Level // on because of those
	order    []string         // of set
	cost     int
	open     map[string]bool // being worked on, against circles
}

func newState() *state {
	return &state{set: map[string]Level{}, selected: map[string]Level{}, open: map[string]bool{}}
}

func (s *state) clone() *state {
	return &state{set: maps.Clone(s.set), selected: maps.Clone(s.selected), open: maps.Clone(s.open),
		order: append([]string(nil), s.order...), cost: s.cost}
}

type solver struct {
	tree  *Tree
	have  settings
	steps *int
	*state
}

func (s *solver) options() []Option {
	var out []Option
	for _, name := range s.order {
		o := Option{Name: prefix + name, Value: "y", Pos: s.tree.Symbol(name).Defs[0].Pos}
		if s.set[name] == Module {
			o.Value = "m"
		}
		out = append(out, o)
	}
	return out
}

// get is an option's value as things stand in this line of the search.
func (s *solver) get(name string) string { return s.value(name, 0) }

func (s *solver) value(name string, depth int) string {
	switch max(s.set[name], s.selected[name]) {
	case Yes:
		return "y"
	case Module:
		return "m"
	}
	if v := s.have[name]; v != "" && v != "n" {
		return v
	}
	sym := s.tree.Symbol(name)
	if sym == nil || sym.HasPrompt() || depth > maxNeeds {
		return s.have[name]
	}
	inner := func(n string) string { return s.value(n, depth+1) }
	for _, d := range sym.Defs {
		if len(s.set) == 0 || d.Depends.Eval(inner) == No {
			continue // nothing changed, or nothing that matters here
		}
		for _, def := range d.Defaults {
			if def.If.Eval(inner) != No {
				return def.Value.value(inner)
			}
		}
	}
	return s.have[name]
}

// value is a default's value: an expression for bools, a constant for others.
func (e *Expr) value(get func(string) string) string {
	switch e.Eval(get) {
	case Yes:
		return "y"
	case Module:
		return "m"
	}
	return "n"
}

var errTooDeep = errors.New("needs too many other options; set it by hand, under kconfig in kmemgate.yml")

// enable turns one option on, with all it takes.
func (s *solver) enable(name string, depth int) error {
	if levelOf(s.get(name)) != No {
		return nil
	}
	if *s.steps++; depth > maxNeeds || *s.steps > maxSteps {
		return errTooDeep
	}
	sym := s.tree.Symbol(name)
	if sym == nil {
		return fmt.Errorf("this kernel has no %s for this architecture", name)
	}
	if s.open[name] {
		return fmt.Errorf("%s needs itself", name)
	}
	if sym.Type != "bool" && sym.Type != "tristate" {
		return fmt.Errorf("%s is of type %s", name, sym.Type)
	}
	s.open[name] = true
	err := s.best(s.ways(sym, depth))
	delete(s.open, name)
	return err
}

// way is one way to reach something.
type way func(*solver) error

// ways to turn an option on: by hand, by its default, by a select.
func (s *solver) ways(sym *Symbol, depth int) []way {
	var hand, rest []way
	for _, d := range sym.Defs {
		if d.Prompt != "" {
			hand = append(hand, func(s *solver) error { return s.byHand(sym, d, depth) })
		}
		for _, def := range d.Defaults {
			rest = append(rest, func(s *solver) error {
				return s.satisfy(and(and(d.Depends, def.If), def.Value), depth+1)
			})
		}
	}
	if hand != nil {
		return append(hand, s.conditionalDefaults(sym, rest)...)
	}
	for _, r := range sym.SelectedBy {
		rest = append(rest, func(s *solver) error {
			if err := s.satisfy(r.If, depth+1); err != nil {
				return err
			}
			return s.enable(r.Name, depth+1)
		})
	}
	return rest
}

// conditionalDefaults: a prompt that is only shown under a condition leaves the
// default and the selects as ways where it is hidden. Where it is shown, the default
// has no say in what .config has an answer for, and selects are never cheaper.
func (s *solver) conditionalDefaults(sym *Symbol, rest []way) []way {
	for _, d := range sym.Defs {
		if d.Prompt != "" && (d.PromptIf == nil || d.PromptIf.Eval(s.get) != No) {
			return nil
		}
	}
	for _, r := range sym.SelectedBy {
		rest = append(rest, func(s *solver) error {
			if err := s.satisfy(r.If, 1); err != nil {
				return err
			}
			return s.enable(r.Name, 1)
		})
	}
	return rest
}

func (s *solver) byHand(sym *Symbol, d *Definition, depth int) error {
	need := and(d.Depends, d.PromptIf)
	if err := s.satisfy(need, depth+1); err != nil {
		return err
	}
	level := Yes
	if sym.Type == "tristate" {
		level = min(need.Eval(s.get), Yes)
	}
	s.set[sym.Name] = level
	s.order = append(s.order, sym.Name)
	s.cost += weight(sym)
	s.selects(sym, level, 0)
	return nil
}

// selects notes what an option turns on in turn.
func (s *solver) selects(sym *Symbol, level Level, depth int) {
	if depth > maxNeeds {
		return
	}
	for _, d := range sym.Defs {
		for _, r := range d.Selects {
			to := s.tree.Symbol(r.Name)
			if to == nil || r.If.Eval(s.get) == No || s.selected[r.Name] >= level {
				continue
			}
			s.selected[r.Name] = level
			s.selects(to, level, depth+1)
		}
	}
}

// best goes the cheapest of several ways, and says why the first is none where
// there is no way.
func (s *solver) best(ways []way) error {
	var found *state
	var first error
	start := s.state
	for _, try := range ways {
		s.state = start.clone()
		err := try(s)
		if err == nil && (found == nil || s.cost < found.cost) {
			found = s.state
		}
		if first == nil {
			first = err
		}
		if found != nil && found.cost <= start.cost+10 {
			break // it cannot be had for less
		}
	}
	s.state = start
	if found == nil {
		if first == nil {
			first = errors.New("nothing turns it on")
		}
		return first
	}
	*s.state = *found
	return nil
}

// satisfy makes an expression hold.
func (s *solver) satisfy(e *Expr, depth int) error {
	if e.Eval(s.get) != No {
		return nil
	}
	switch e.op {
	case "&&":
		return s.all(e.Conjuncts(), depth)
	case "||":
		return s.best([]way{
			func(s *solver) error { return s.satisfy(e.left, depth) },
			func(s *solver) error { return s.satisfy(e.right, depth) },
		})
	case "":
		if !e.quoted && !e.isConstant() {
			return s.enable(e.name, depth)
		}
	case "=", "!=":
		if e.left.op == "" && (e.op == "=") == (e.right.name == "y") && e.right.isConstant() {
			return s.enable(e.left.name, depth)
		}
	}
	return fmt.Errorf("needs %s", e)
}

// all satisfies the parts that fail at once for good before those that search.
func (s *solver) all(parts []*Expr, depth int) error {
	parts = append([]*Expr(nil), parts...)
	sort.SliceStable(parts, func(i, j int) bool { return hopeless(parts[i]) && !hopeless(parts[j]) })
	for _, c := range parts {
		if err := s.satisfy(c, depth); err != nil {
			return err
		}
	}
	return nil
}

// hopeless is what nothing can be set for: an option that must be off.
func hopeless(e *Expr) bool { return e.op == "!" }
