package kconfig

import (
	"fmt"
	"strings"
)

type tokenKind int

const (
	word tokenKind = iota
	quoted
	operator
	macro // $(…) that is no plain variable: only a compiler could tell its value
)

type token struct {
	kind tokenKind
	text string
}

func (t token) is(op string) bool { return t.kind == operator && t.text == op }

// tokenize splits a line of Kconfig. Variables that are known are put in;
// brackets deeper than maxDepth are refused, so that the parser's own depth is bounded.
func tokenize(line string, vars map[string]string) ([]token, error) {
	var out []token
	depth := 0
	for i := 0; i < len(line); {
		c := line[i]
		var t token
		var n int
		switch {
		case c == ' ' || c == '\t':
			i++
			continue
		case c == '#':
			return out, nil
		case c == '"' || c == '\'':
			body, size, err := quotedString(line[i:])
			if err != nil {
				return nil, err
			}
			t, n = token{quoted, expand(body, vars)}, size
		case c == '$':
			n = macroSize(line[i:])
			t = macroToken(line[i:i+n], vars)
		case strings.IndexByte("!&|=<>()", c) >= 0:
			n = operatorSize(line[i:])
			t = token{operator, line[i : i+n]}
			if c == '(' || c == '!' {
				depth++
			}
			if depth > maxDepth {
				return nil, fmt.Errorf("expression nested deeper than %d", maxDepth)
			}
		default:
			n = wordSize(line[i:])
			t = token{word, line[i : i+n]}
		}
		out = append(out, t)
		i += n
	}
	return out, nil
}

func quotedString(s string) (body string, size int, err error) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == s[0]:
			return b.String(), i + 1, nil
		case s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(s[i])
		}
	}
	return "", 0, fmt.Errorf("string without its closing quote: %s", clip(s))
}

// macroSize is the length of $(name …), or of the $NAME that kernels before 4.18 wrote.
func macroSize(s string) int {
	if len(s) > 1 && s[1] == '(' {
		depth := 0
		for i := 1; i < len(s); i++ {
			switch s[i] {
			case '(':
				depth++
			case ')':
				if depth--; depth == 0 {
					return i + 1
				}
			}
		}
		return len(s)
	}
	return 1 + wordSize(s[1:])
}

func macroToken(text string, vars map[string]string) token {
	if v, ok := vars[strings.Trim(text, "$()")]; ok {
		return token{word, v}
	}
	return token{macro, text}
}

func operatorSize(s string) int {
	if len(s) > 1 {
		switch s[:2] {
		case "&&", "||", "!=", "<=", ">=":
			return 2
		}
	}
	return 1
}

func wordSize(s string) int {
	if n := strings.IndexAny(s, " \t!&|=<>()\"'$#"); n > 0 {
		return n
	} else if n == 0 {
		return 0
	}
	return len(s)
}

func expand(s string, vars map[string]string) string {
	for name, value := range vars {
		s = strings.ReplaceAll(s, "$("+name+")", value)
		s = strings.ReplaceAll(s, "$"+name, value)
	}
	return s
}
