package kconfig

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// sourceArch is the directory under arch/ of an architecture, SRCARCH in the
// kernel's Makefile.
var sourceArch = map[string]string{"x86_64": "x86", "arm64": "arm64"}

// maxFiles and maxInclude bound what a tree can make the reader do; a kernel has
// some 1,200 Kconfig files for one architecture, included nine deep.
const (
	maxFiles   = 20000
	maxInclude = 50
)

// ReadTree reads the Kconfig files of a kernel source tree for "x86_64" or
// "arm64", from the root's Kconfig on. It evaluates nothing: what a compiler or
// linker would have to be asked stays in the expressions.
func ReadTree(src fs.FS, arch string) (*Tree, error) {
	dir, ok := sourceArch[arch]
	if !ok {
		return nil, fmt.Errorf("kconfig: architecture %q: want x86_64 or arm64", arch)
	}
	t := &Tree{symbols: map[string]*Symbol{}}
	r := &reader{tree: t, src: src, vars: map[string]string{"ARCH": dir, "SRCARCH": dir, "SUBARCH": dir}}
	if err := r.file("Kconfig", 0); err != nil {
		return nil, fmt.Errorf("read the kernel's Kconfig files: %w", err)
	}
	if len(r.open) > 0 {
		return nil, fmt.Errorf("read the kernel's Kconfig files: %s: %s without its end", r.open[0].pos, r.open[0].kind)
	}
	t.link()
	return t, nil
}

// block is an open menu, if or choice.
type block struct {
	kind      string
	pos       Position
	depends   *Expr // of the block itself
	visibleIf *Expr
	choice    *Choice
}

type reader struct {
	tree  *Tree
	src   fs.FS
	vars  map[string]string
	open  []*block
	files int

	// What attribute lines belong to; nil between entries.
	def    *Definition
	symbol *Symbol
	menu   *block // a menu, choice or comment: takes "depends on"
}

func (r *reader) file(name string, depth int) error {
	if r.files++; r.files > maxFiles || depth > maxInclude {
		return fmt.Errorf("%s: more than %d files, or included deeper than %d: does it include itself?", name, maxFiles, maxInclude)
	}
	text, err := fs.ReadFile(r.src, path.Clean(name))
	if err != nil {
		return err
	}
	return r.lines(name, string(text), depth)
}

func (r *reader) lines(name, text string, depth int) error {
	help := helpText{}
	for n := 1; text != ""; n++ {
		pos := Position{File: name, Line: n}
		var line string
		line, text, _ = strings.Cut(text, "\n")
		if help.holds(line) {
			continue
		}
		for strings.HasSuffix(line, `\`) && text != "" {
			var more string
			more, text, _ = strings.Cut(text, "\n")
			line = strings.TrimSuffix(line, `\`) + " " + more
			n++
		}
		if isMacroLine(line) {
			continue
		}
		tokens, err := tokenize(line, r.vars)
		if err != nil {
			r.unread(pos, err)
			continue
		}
		if len(tokens) == 0 {
			continue
		}
		if tokens[0].text == "help" || tokens[0].text == "---help---" {
			help.start()
			continue
		}
		if err := r.line(pos, tokens, depth); err != nil {
			return err
		}
	}
	return nil
}

// line takes one statement: an include, a block, an entry, or an attribute.
func (r *reader) line(pos Position, tokens []token, depth int) error {
	switch tokens[0].text {
	case "source":
		r.close()
		if len(tokens) != 2 {
			r.unread(pos, errors.New("source: want one file"))
			return nil
		}
		if err := r.file(tokens[1].text, depth+1); err != nil {
			return fmt.Errorf("%s: source: %w", pos, err)
		}
		r.close()
		return nil
	case "endmenu", "endif", "endchoice":
		return r.end(pos, strings.TrimPrefix(tokens[0].text, "end"))
	}
	if err := r.entry(pos, tokens); err != nil {
		r.unread(pos, err)
	}
	return nil
}

func (r *reader) unread(pos Position, err error) {
	r.tree.Unread = append(r.tree.Unread, fmt.Errorf("%s: %w", pos, err))
}

func (r *reader) end(pos Position, kind string) error {
	r.close()
	last := len(r.open) - 1
	if last < 0 || r.open[last].kind != kind {
		return fmt.Errorf("%s: end%s without its %s", pos, kind, kind)
	}
	r.open = r.open[:last]
	return nil
}

// close ends the entry that attribute lines belong to.
func (r *reader) close() {
	if r.def != nil {
		r.def.Depends = and(r.outer(), r.def.Depends)
		for i := range r.open {
			r.def.PromptIf = and(r.def.PromptIf, r.open[i].visibleIf)
		}
		if c := r.def.Choice; c != nil {
			c.Members = append(c.Members, r.symbol.Name)
		}
	}
	r.def, r.symbol, r.menu = nil, nil, nil
}

// outer is what the blocks around an entry ask.
func (r *reader) outer() *Expr {
	var all *Expr
	for _, b := range r.open {
		all = and(all, b.depends)
	}
	return all
}

// isMacroLine tells the assignments and calls of Kconfig's macro language, which
// only ask the toolchain (scripts/Kconfig.include).
func isMacroLine(line string) bool {
	if strings.HasPrefix(line, "$(") {
		return true
	}
	name, _, ok := strings.Cut(line, "=")
	name = strings.TrimRight(name, " \t:+")
	return ok && name != "" && !strings.ContainsAny(name, " \t\"(!")
}

// helpText skips what stands under "help": the lines that are indented at least
// as deep as its first one (scripts/kconfig/lexer.l).
type helpText struct {
	on     bool
	indent int // of the first line, -1 before it
}

func (h *helpText) start() { h.on, h.indent = true, -1 }

func (h *helpText) holds(line string) bool {
	if !h.on || strings.TrimSpace(line) == "" {
		return h.on
	}
	indent := 0
	for _, c := range line {
		if c == '\t' {
			indent = indent&^7 + 8
		} else if c == ' ' {
			indent++
		} else {
			break
		}
	}
	if h.indent < 0 {
		h.indent = indent
	}
	h.on = indent > 0 && indent >= h.indent
	return h.on
}
