package kconfig

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// maxLine bounds a line of a .config; the longest real ones (CONFIG_CMDLINE,
// CONFIG_LSM) have a few hundred bytes.
const maxLine = 1 << 20

// What a line can be. Values: scripts/kconfig/confdata.c, conf_set_sym_val.
var (
	setLine   = regexp.MustCompile(`^CONFIG_([A-Za-z0-9_]+)=(.*)$`)
	unsetLine = regexp.MustCompile(`^# CONFIG_([A-Za-z0-9_]+) is not set$`)
	whenLine  = regexp.MustCompile(`^# (where known|where possible|else)(:.*)?$`)
	value     = regexp.MustCompile(`^(y|m|n|-?[0-9]+|0[xX][0-9a-fA-F]+|"([^"\\]|\\.)*")?$`)
)

// Parse reads a .config or a fragment; name stands in positions and errors.
// Repeating an option with the same value is allowed, with another it is an error.
//
// Example: CONFIG_SMP=y
// Example: # CONFIG_NET is not set
func Parse(r io.Reader, name string) (Fragment, error) {
	b := newBuilder(name)
	in := bufio.NewScanner(r)
	in.Buffer(make([]byte, 0, 64<<10), maxLine)
	when, whenAt := Condition(""), 0
	n := 0
	for in.Scan() {
		n++
		line := strings.TrimSpace(in.Text())
		if m := whenLine.FindStringSubmatch(line); m != nil {
			if when != "" {
				return Fragment{}, danglingCondition(name, whenAt, when)
			}
			when, whenAt = Condition(m[1]), n
			continue
		}
		if line == "" || line[0] == '#' && !unsetLine.MatchString(line) {
			continue
		}
		o, err := parseOption(line)
		if err != nil {
			return Fragment{}, fmt.Errorf("%s:%d: %w", name, n, err)
		}
		o.Pos, o.When = Position{File: name, Line: n}, when
		when = ""
		if err := b.add(o); err != nil {
			return Fragment{}, err
		}
	}
	if err := in.Err(); err != nil {
		return Fragment{}, fmt.Errorf("%s:%d: %w", name, n+1, err)
	}
	if when != "" {
		return Fragment{}, danglingCondition(name, whenAt, when)
	}
	return b.frag, nil
}

func danglingCondition(name string, line int, when Condition) error {
	return fmt.Errorf("%s:%d: %q: want an option on the lines after it", name, line, "# "+string(when))
}

// FromLines makes a fragment of the entries of kmemgate.yml's kconfig list, which
// may leave CONFIG_ out. lineNumbers has the line in file of each, from 1.
func FromLines(lines []string, file string, lineNumbers []int) (Fragment, error) {
	if len(lines) != len(lineNumbers) {
		return Fragment{}, fmt.Errorf("%s: %d options, but %d line numbers", file, len(lines), len(lineNumbers))
	}
	b := newBuilder(file)
	for i, text := range lines {
		text = strings.TrimSpace(text)
		if !strings.HasPrefix(text, "#") {
			text = fullName(text)
		}
		o, err := parseOption(text)
		if err == nil && o.Value == "" {
			err = fmt.Errorf("%q: want a value behind the =", text)
		}
		if err != nil {
			return Fragment{}, fmt.Errorf("%s:%d: %w", file, lineNumbers[i], err)
		}
		o.Pos = Position{File: file, Line: lineNumbers[i]}
		if err := b.add(o); err != nil {
			return Fragment{}, err
		}
	}
	return b.frag, nil
}

func parseOption(line string) (Option, error) {
	if m := unsetLine.FindStringSubmatch(line); m != nil {
		return Option{Name: prefix + m[1], Value: "n"}, nil
	}
	m := setLine.FindStringSubmatch(line)
	if m == nil {
		return Option{}, fmt.Errorf("%q: want CONFIG_NAME=value or # CONFIG_NAME is not set", clip(line))
	}
	if !value.MatchString(m[2]) {
		return Option{}, fmt.Errorf(`%q: want y, m, n, a number or a "quoted string" behind the =`, clip(line))
	}
	return Option{Name: prefix + m[1], Value: m[2]}, nil
}

// clip keeps a hostile or binary file from filling the terminal.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// WriteTo writes what Parse and the kernel's own conf read: conditions are
// comment lines there.
func (f Fragment) WriteTo(w io.Writer) (int64, error) {
	var text strings.Builder
	for _, o := range f.Options {
		if o.When != "" {
			fmt.Fprintf(&text, "# %s\n", o.When)
		}
		if o.Value == "n" {
			fmt.Fprintf(&text, "# %s is not set\n", o.Name)
		} else {
			fmt.Fprintln(&text, o)
		}
	}
	n, err := io.WriteString(w, text.String())
	return int64(n), err
}
