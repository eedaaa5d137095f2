package kconfig

import (
	"fmt"
	"strconv"
	"strings"
)

// Level is a tristate: what an expression of Kconfig comes to.
type Level int

// The levels, in kconfig's order: && is the smaller, || the larger.
const (
	No Level = iota
	Module
	Yes
)

func levelOf(value string) Level {
	switch value {
	case "y":
		return Yes
	case "m":
		return Module
	}
	return No
}

// Expr is an expression of Kconfig, Documentation/kbuild/kconfig-language.rst.
// A nil *Expr is the empty condition, which always holds.
type Expr struct {
	op          string // "", "!", "&&", "||", "=", "!=", "<", ">", "<=", ">="
	left, right *Expr
	name        string // op "": a symbol's name or a constant
	quoted      bool
	macro       bool // $(…): only a compiler could tell
}

// String prints the expression as Kconfig would have it, without CONFIG_.
func (e *Expr) String() string {
	switch {
	case e == nil:
		return "y"
	case e.op == "":
		if e.quoted {
			return strconv.Quote(e.name)
		}
		return e.name
	case e.op == "!":
		return "!" + e.left.inner()
	case e.op == "&&" || e.op == "||":
		return e.side(e.left) + " " + e.op + " " + e.side(e.right)
	}
	return e.left.inner() + " " + e.op + " " + e.right.inner()
}

// side brackets an operand where the other of && and || stands in it.
func (e *Expr) side(x *Expr) string {
	if x != nil && (x.op == "&&" || x.op == "||") && x.op != e.op {
		return "(" + x.String() + ")"
	}
	return x.String()
}

func (e *Expr) inner() string {
	if e != nil && e.op != "" && e.op != "!" {
		return "(" + e.String() + ")"
	}
	return e.String()
}

// Eval works the expression out, given the value of every symbol ("" where it
// has none). What only a compiler could tell, $(cc-option,…), counts as y.
func (e *Expr) Eval(get func(name string) string) Level {
	if e == nil {
		return Yes
	}
	switch e.op {
	case "":
		if e.macro {
			return Yes
		}
		return levelOf(e.text(get))
	case "!":
		return Yes - e.left.Eval(get)
	case "&&":
		return min(e.left.Eval(get), e.right.Eval(get))
	case "||":
		return max(e.left.Eval(get), e.right.Eval(get))
	}
	if e.left.macro || e.right.macro || compare(e.op, e.left.text(get), e.right.text(get)) {
		return Yes
	}
	return No
}

func (e *Expr) text(get func(string) string) string {
	if e.quoted || e.isConstant() {
		return e.name
	}
	return strings.Trim(get(e.name), `"`)
}

func (e *Expr) isConstant() bool {
	if e.name == "y" || e.name == "m" || e.name == "n" {
		return true
	}
	_, err := strconv.ParseInt(e.name, 0, 64)
	return err == nil
}

// compare goes by number where both sides are numbers, else by text; a bool that
// is not set compares as n. scripts/kconfig/expr.c, expr_compare_type.
func compare(op, a, b string) bool {
	if a == "" && (b == "y" || b == "m" || b == "n") {
		a = "n"
	}
	c := strings.Compare(a, b)
	x, errX := strconv.ParseInt(a, 0, 64)
	y, errY := strconv.ParseInt(b, 0, 64)
	if errX == nil && errY == nil {
		c = int(min(max(x-y, -1), 1))
	}
	switch op {
	case "=":
		return c == 0
	case "!=":
		return c != 0
	case "<":
		return c < 0
	case ">":
		return c > 0
	case "<=":
		return c <= 0
	}
	return c >= 0
}

// Conjuncts are the parts that must all hold.
func (e *Expr) Conjuncts() []*Expr {
	if e == nil {
		return nil
	}
	if e.op == "&&" {
		return append(e.left.Conjuncts(), e.right.Conjuncts()...)
	}
	return []*Expr{e}
}

// Symbols are the names of the options that the expression asks, once each.
func (e *Expr) Symbols() []string {
	var names []string
	seen := map[string]bool{}
	var walk func(*Expr)
	walk = func(x *Expr) {
		if x == nil {
			return
		}
		if x.op == "" && !x.quoted && !x.macro && !x.isConstant() && !seen[x.name] {
			seen[x.name] = true
			names = append(names, x.name)
		}
		walk(x.left)
		walk(x.right)
	}
	walk(e)
	return names
}

// and joins conditions; nil is the one that always holds.
func and(a, b *Expr) *Expr {
	if a == nil {
		return b
	}
	if b == nil {
		return a
	}
	return &Expr{op: "&&", left: a, right: b}
}

// parseExpr reads an expression from the front of tokens and returns what is left.
func parseExpr(tokens []token) (*Expr, []token, error) {
	left, rest, err := parseAnd(tokens)
	for err == nil && len(rest) > 0 && rest[0].is("||") {
		var right *Expr
		right, rest, err = parseAnd(rest[1:])
		left = &Expr{op: "||", left: left, right: right}
	}
	return left, rest, err
}

func parseAnd(tokens []token) (*Expr, []token, error) {
	left, rest, err := parseComparison(tokens)
	for err == nil && len(rest) > 0 && rest[0].is("&&") {
		var right *Expr
		right, rest, err = parseComparison(rest[1:])
		left = &Expr{op: "&&", left: left, right: right}
	}
	return left, rest, err
}

func parseComparison(tokens []token) (*Expr, []token, error) {
	left, rest, err := parseUnary(tokens)
	if err != nil || len(rest) == 0 || rest[0].kind != operator {
		return left, rest, err
	}
	switch op := rest[0].text; op {
	case "=", "!=", "<", ">", "<=", ">=":
		right, rest, err := parseUnary(rest[1:])
		if err != nil || left.op != "" || right.op != "" {
			return nil, rest, fmt.Errorf("comparison with %q: want a name or a constant on both sides", op)
		}
		return &Expr{op: op, left: left, right: right}, rest, nil
	}
	return left, rest, nil
}

// maxDepth bounds the brackets; real Kconfig files nest four deep.
const maxDepth = 100

func parseUnary(tokens []token) (*Expr, []token, error) {
	if len(tokens) == 0 {
		return nil, nil, fmt.Errorf("expression ends early")
	}
	t, rest := tokens[0], tokens[1:]
	switch {
	case t.is("!"):
		// the comparison binds tighter: !A = y is !(A = y) (scripts/kconfig/parser.y)
		x, rest, err := parseComparison(rest)
		return &Expr{op: "!", left: x}, rest, err
	case t.is("("):
		x, rest, err := parseExpr(rest)
		if err == nil && (len(rest) == 0 || !rest[0].is(")")) {
			err = fmt.Errorf("expression: want a closing bracket")
		}
		if err != nil {
			return nil, rest, err
		}
		return x, rest[1:], nil
	case t.kind == operator:
		return nil, rest, fmt.Errorf("expression: %q where a name should be", t.text)
	}
	return &Expr{name: t.text, quoted: t.kind == quoted, macro: t.kind == macro}, rest, nil
}
