package kconfig

import "fmt"

// entry takes a line that starts an entry or a block, or an attribute of the
// entry before it.
func (r *reader) entry(pos Position, tokens []token) error {
	switch rest := tokens[1:]; tokens[0].text {
	case "config", "menuconfig":
		if len(rest) != 1 {
			return fmt.Errorf("%s: want one name", tokens[0].text)
		}
		r.config(pos, rest[0].text)
	case "menu", "choice", "if":
		return r.block(pos, tokens)
	case "comment":
		r.close()
		r.menu = &block{kind: "comment", pos: pos} // its "depends on" says nothing of options
	case "mainmenu":
		r.close()
	default:
		return r.attribute(tokens)
	}
	return nil
}

func (r *reader) config(pos Position, name string) {
	r.close()
	r.symbol = r.tree.symbol(name)
	r.def = &Definition{Pos: pos}
	for _, b := range r.open {
		if b.choice != nil {
			r.def.Choice = b.choice
		}
	}
	r.symbol.Defs = append(r.symbol.Defs, r.def)
}

func (r *reader) block(pos Position, tokens []token) error {
	r.close()
	b := &block{kind: tokens[0].text, pos: pos}
	r.open = append(r.open, b)
	switch b.kind {
	case "if":
		e, err := wholeExpr(tokens[1:])
		if err != nil {
			return fmt.Errorf("if: %w", err)
		}
		b.depends = e
	case "choice":
		b.choice = &Choice{Pos: pos}
		r.menu = b
	default:
		r.menu = b
	}
	return nil
}

// attribute takes a line like "depends on X" or "select Y if Z".
func (r *reader) attribute(tokens []token) error {
	key, rest := tokens[0].text, tokens[1:]
	if r.menu != nil {
		return r.menuAttribute(key, rest)
	}
	if r.def == nil {
		return fmt.Errorf("%q outside of any entry", key)
	}
	switch key {
	case "bool", "boolean", "tristate", "int", "hex", "string":
		r.setType(key)
		if len(rest) == 0 {
			return nil
		}
		return r.prompt(rest)
	case "prompt":
		return r.prompt(rest)
	case "def_bool", "def_tristate":
		r.setType(key[len("def_"):])
		return r.defaultValue(rest)
	case "default":
		return r.defaultValue(rest)
	case "depends":
		e, err := dependsOn(rest)
		r.def.Depends = and(r.def.Depends, e)
		return err
	case "select", "imply":
		return r.reverse(key, rest)
	case "range":
		return r.rangeOf(rest)
	case "transitional":
		r.symbol.Transitional = true
		return nil
	case "modules", "option", "optional":
		return nil // they change nothing that is asked here
	}
	return fmt.Errorf("%q: an attribute that this reader does not know", clip(key))
}

// menuAttribute takes the attributes of menus, choices and comments.
func (r *reader) menuAttribute(key string, rest []token) error {
	switch key {
	case "depends":
		e, err := dependsOn(rest)
		r.menu.depends = and(r.menu.depends, e)
		return err
	case "visible":
		if len(rest) == 0 {
			return fmt.Errorf("visible: want an if")
		}
		e, err := wholeExpr(rest[1:])
		r.menu.visibleIf = and(r.menu.visibleIf, e)
		return err
	case "prompt", "bool", "tristate":
		if r.menu.choice != nil && len(rest) > 0 {
			r.menu.choice.Prompt = rest[0].text
		}
		return nil
	case "default", "optional", "modules":
		return nil
	}
	return fmt.Errorf("%q: an attribute that this reader does not know", clip(key))
}

func (r *reader) setType(t string) {
	if t == "boolean" { // kernels before 4.0
		t = "bool"
	}
	r.symbol.Type = t
}

func (r *reader) prompt(rest []token) error {
	if len(rest) == 0 {
		return fmt.Errorf("prompt: want its text")
	}
	cond, err := trailingIf(rest[1:])
	r.def.Prompt, r.def.PromptIf = rest[0].text, and(r.def.PromptIf, cond)
	return err
}

func (r *reader) defaultValue(rest []token) error {
	v, rest, err := parseExpr(rest)
	if err != nil {
		return fmt.Errorf("default: %w", err)
	}
	cond, err := trailingIf(rest)
	r.def.Defaults = append(r.def.Defaults, Default{Value: v, If: cond})
	return err
}

func (r *reader) reverse(key string, rest []token) error {
	if len(rest) == 0 || rest[0].kind != word {
		return fmt.Errorf("%s: want a name", key)
	}
	cond, err := trailingIf(rest[1:])
	to := Reverse{Name: rest[0].text, If: cond}
	if key == "select" {
		r.def.Selects = append(r.def.Selects, to)
	} else {
		r.def.Implies = append(r.def.Implies, to)
	}
	return err
}

func (r *reader) rangeOf(rest []token) error {
	if len(rest) < 2 {
		return fmt.Errorf("range: want two values")
	}
	cond, err := trailingIf(rest[2:])
	r.def.Ranges = append(r.def.Ranges, Range{Low: rest[0].text, High: rest[1].text, If: cond})
	return err
}

// dependsOn reads "on EXPR", and since 7.0 "on EXPR if EXPR": the first is asked
// only where the second holds (Documentation/kbuild/kconfig-language.rst).
func dependsOn(rest []token) (*Expr, error) {
	if len(rest) == 0 || rest[0].text != "on" {
		return nil, fmt.Errorf("depends: want on")
	}
	e, rest, err := parseExpr(rest[1:])
	if err != nil {
		return nil, fmt.Errorf("depends on: %w", err)
	}
	cond, err := trailingIf(rest)
	if err != nil || cond == nil {
		return e, err
	}
	return &Expr{op: "||", left: &Expr{op: "!", left: cond}, right: e}, nil
}

// trailingIf reads "if EXPR" to the end of the line; nothing is nil.
func trailingIf(rest []token) (*Expr, error) {
	if len(rest) == 0 {
		return nil, nil
	}
	if rest[0].text != "if" {
		return nil, fmt.Errorf("%q: want if or the line's end", clip(rest[0].text))
	}
	e, err := wholeExpr(rest[1:])
	if err != nil {
		return nil, fmt.Errorf("if: %w", err)
	}
	return e, nil
}

func wholeExpr(tokens []token) (*Expr, error) {
	e, rest, err := parseExpr(tokens)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%q after the expression", clip(rest[0].text))
	}
	return e, err
}
