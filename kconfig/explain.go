package kconfig

import (
	"fmt"
	"strings"
)

// explainer says why an option has not the value that was asked for. It never
// runs kconfig: it reads the conditions and the .config that came out.
type explainer struct {
	tree *Tree
	have settings
}

// why tries the reasons in the order in which kconfig applies them.
func (x explainer) why(want Option) string {
	s := x.tree.Symbol(want.Name)
	if s == nil {
		return ""
	}
	if levelOf(want.Value) < levelOf(x.have.get(s.Name)) {
		return x.raised(s)
	}
	if reason := x.unmet(s, 3); reason != "" {
		return "needs " + reason
	}
	if want.Value == "m" && s.Type == "bool" {
		return "it is a bool: y or n"
	}
	for _, d := range s.Defs {
		if d.Choice != nil {
			return x.choice(d.Choice, s.Name)
		}
		for _, r := range d.Ranges {
			if r.If.Eval(x.have.get) != No {
				return fmt.Sprintf("range %s to %s", r.Low, r.High)
			}
		}
	}
	if !s.HasPrompt() {
		return "cannot be set by hand" + x.selectors(s)
	}
	return ""
}

// raised names who turned on what should be off, or built in what should be a module.
func (x explainer) raised(s *Symbol) string {
	for _, r := range s.SelectedBy {
		if levelOf(x.have.get(r.Name)) != No && r.If.Eval(x.have.get) != No {
			return "selected by " + r.Name + "=" + x.have.get(r.Name)
		}
	}
	for _, d := range s.Defs {
		if d.Prompt == "" || d.PromptIf.Eval(x.have.get) == No {
			return "its default; no prompt to change it here"
		}
	}
	return ""
}

// unmet lists the conditions that fail, and what the failing ones need in turn;
// "" where one definition has all it asks.
func (x explainer) unmet(s *Symbol, depth int) string {
	best := ""
	for i, d := range s.Defs {
		var parts []string
		for _, c := range append(d.Depends.Conjuncts(), d.PromptIf.Conjuncts()...) {
			if c.Eval(x.have.get) == No {
				parts = append(parts, x.condition(c, depth))
			}
		}
		if parts == nil {
			return ""
		}
		if text := strings.Join(parts, ", "); i == 0 || len(text) < len(best) {
			best = text
		}
	}
	return best
}

// Example: (A || B) (A not set, B not set)
func (x explainer) condition(c *Expr, depth int) string {
	if name := c.name; c.op == "" && !c.quoted {
		text := name + " (not set"
		s := x.tree.Symbol(name)
		if s == nil {
			return name + " (which this kernel does not define)"
		}
		if !s.HasPrompt() {
			text += x.selectors(s)
		} else if depth > 1 {
			if more := x.unmet(s, depth-1); more != "" {
				text += ", itself needs " + more
			}
		}
		return text + ")"
	}
	var state []string
	for _, name := range c.Symbols() {
		state = append(state, x.have.describe(name))
	}
	text := c.String()
	if c.op == "||" {
		text = "(" + text + ")"
	}
	if state == nil {
		return text
	}
	return text + " (" + strings.Join(state, ", ") + ")"
}

// selectors names a few of those that could turn on what has no prompt.
func (x explainer) selectors(s *Symbol) string {
	const most = 4
	var names []string
	for _, r := range s.SelectedBy {
		if len(names) == most {
			names = append(names, "…")
			break
		}
		names = append(names, r.Name)
	}
	if names == nil {
		return ", nothing selects it"
	}
	return ", selected by " + strings.Join(names, ", ")
}

func (x explainer) choice(c *Choice, self string) string {
	for _, name := range c.Members {
		if name != self && x.have.get(name) == "y" {
			return fmt.Sprintf("of the choice %q the kernel took %s", c.Prompt, name)
		}
	}
	return fmt.Sprintf("one of the choice %q", c.Prompt)
}
