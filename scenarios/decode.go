package scenarios

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Error is every mistake of one kmemgate.yml, in the order of its lines as far
// as they could be told.
type Error struct {
	Mistakes []Mistake
}

// Mistake is one wrong line. Example:
// kmemgate.yml:3: arches: "mips" is no architecture; want x86_64 or arm64
type Mistake struct {
	File string
	Line int // from 1
	Text string
}

// Error gives a line per mistake.
func (e *Error) Error() string {
	lines := make([]string, len(e.Mistakes))
	for i, m := range e.Mistakes {
		lines[i] = fmt.Sprintf("%s:%d: %s", m.File, m.Line, m.Text)
	}
	return strings.Join(lines, "\n")
}

// document is a file on its way to a Scenario: it keeps where each value
// stands, so that later checks can say so.
type document struct {
	file     string
	scenario *Scenario
	nodes    map[string]ast.Node // by goccy's path, e.g. "$.modules[0].name"
	mistakes []Mistake
}

func parse(file string, data []byte) (*document, error) {
	d := &document{file: file, scenario: &Scenario{}, nodes: map[string]ast.Node{}}
	body, err := d.tree(data)
	if err != nil {
		return nil, err
	}
	if body == nil { // an empty file says nothing, which is allowed
		return d, nil
	}
	ast.Walk(d, body)
	d.checkSpelling()
	if err := d.err(); err != nil {
		return nil, err
	}
	if err := yaml.NodeToValue(body, d.scenario, yaml.Strict()); err != nil {
		return nil, d.yamlError(err)
	}
	d.validate()
	return d, d.err()
}

// tree gives the one document of the file, nil where it is empty.
func (d *document) tree(data []byte) (ast.Node, error) {
	if line := tooDeep(data); line > 0 {
		return nil, d.mistake(line, "nested more than %d deep; this is no kmemgate.yml", maxDepth)
	}
	f, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, d.yamlError(err)
	}
	var body ast.Node
	for _, doc := range f.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType {
			continue
		}
		if body != nil {
			return nil, d.mistake(lineOf(doc.Body), "a second YAML document; keep one")
		}
		body = doc.Body
	}
	if body == nil || body.Type() == ast.NullType {
		return nil, nil
	}
	if t := body.Type(); t != ast.MappingType {
		return nil, d.mistake(lineOf(body), "want keys and values (kernels: …), found %s", strings.ToLower(t.String()))
	}
	return body, nil
}

// maxDepth bounds nesting: goccy/go-yaml takes time by the square of it
// (measured on 1.19: 0.3 s for 2,000 dashes in a row, a minute for 30,000).
const maxDepth = 200

// tooDeep returns the line on which too many brackets are open or too many
// dashes stand, 0 if there is none. It does not know quotes: what it counts too
// many of in a script is closed again in the same script.
func tooDeep(data []byte) int {
	open, dashes, line := 0, 0, 1
	for _, c := range data {
		switch c {
		case '[', '{':
			open++
		case ']', '}':
			open--
		case '-', '?':
			dashes++
		case '\n', '\r':
			dashes = 0
			if c == '\n' {
				line++
			}
		}
		if open > maxDepth || dashes > maxDepth {
			return line
		}
	}
	return 0
}

// Visit collects the nodes by path (ast.Visitor). Aliases are refused: a few
// lines of them can grow beyond any memory, and no kmemgate.yml needs one.
func (d *document) Visit(node ast.Node) ast.Visitor {
	switch n := node.(type) {
	case *ast.AliasNode, *ast.AnchorNode, *ast.MergeKeyNode, *ast.TagNode:
		d.add(lineOf(node), "YAML anchors, aliases and tags are not supported; write the value out")
		return nil
	case *ast.MappingValueNode:
		d.nodes[n.Value.GetPath()] = n.Value
	default:
		if _, seen := d.nodes[node.GetPath()]; !seen {
			d.nodes[node.GetPath()] = node
		}
	}
	return d
}

// checkSpelling refuses a number where a kernel is named: YAML would read 6.10
// as 6.1, a kernel of three years earlier.
func (d *document) checkSpelling() {
	for path, node := range d.nodes {
		t := node.Type()
		if (t == ast.FloatType || t == ast.IntegerType) && strings.Contains(path, ".kernels") {
			text := node.GetToken().Value
			d.errorf(path, "%s is a number to YAML (6.10 would become 6.1); write %q with the quotes", text, text)
		}
	}
	slices.SortFunc(d.mistakes, func(a, b Mistake) int { return a.Line - b.Line }) // maps have no order
}

// yamlError turns goccy's error, which draws the source over several lines,
// into ours.
func (d *document) yamlError(err error) error {
	var mine *Error
	if errors.As(err, &mine) {
		return mine
	}
	var ye yaml.Error
	if !errors.As(err, &ye) {
		return d.mistake(1, "%s", oneLine(err.Error()))
	}
	text, found := ye.GetMessage(), ye.GetToken()
	var unknown *yaml.UnknownFieldError
	var wrong *yaml.TypeError
	var shape *yaml.UnexpectedNodeTypeError
	switch {
	case errors.As(err, &unknown):
		text += "; mend its spelling (docs/ lists the keys)"
	case errors.As(err, &wrong):
		text = fmt.Sprintf("%swant %s, found %q", d.keyOf(found), typeName(wrong.DstType.String()), found.Value)
	case errors.As(err, &shape):
		text = fmt.Sprintf("%swant %s, found %s", d.keyOf(found), shapeName(shape.Expected), shapeName(shape.Actual))
	}
	return d.mistake(tokenLine(found), "%s", oneLine(text))
}

// keyOf gives "key: " of the innermost value with this token, or nothing.
func (d *document) keyOf(t *token.Token) string {
	key := ""
	for path, node := range d.nodes {
		if node.GetToken() == t && len(path) > len(key) && path != "$" {
			key = path
		}
	}
	if key == "" {
		return ""
	}
	return strings.TrimPrefix(key, "$.") + ": "
}

func shapeName(t ast.NodeType) string {
	switch t {
	case ast.SequenceType:
		return "a list"
	case ast.MappingType, ast.MappingValueType:
		return "keys and values"
	}
	return strings.ToLower(t.String())
}

// typeName says a Go type in the words of a YAML file.
func typeName(goType string) string {
	switch {
	case strings.HasPrefix(goType, "[]"):
		return "a list"
	case strings.Contains(goType, "int"):
		return "a whole number"
	case goType == "bool":
		return "true or false"
	case goType == "string":
		return "text"
	case goType == "time.Duration":
		return "a duration such as 60s"
	}
	return "keys and values"
}

func (d *document) has(path string) bool {
	_, ok := d.nodes[path]
	return ok
}

// errorf notes a mistake at the value that stands at path.
func (d *document) errorf(path, format string, args ...any) {
	line := 1
	for at := path; at != "" && at != "$"; at = parentPath(at) {
		if node, ok := d.nodes[at]; ok {
			line = lineOf(node)
			break
		}
	}
	text := fmt.Sprintf(format, args...)
	if key := strings.TrimPrefix(strings.TrimPrefix(path, "$"), "."); key != "" {
		text = key + ": " + text
	}
	d.add(line, "%s", text)
}

func parentPath(path string) string {
	return path[:max(0, strings.LastIndexAny(path, ".["))]
}

func (d *document) add(line int, format string, args ...any) {
	d.mistakes = append(d.mistakes, Mistake{File: d.file, Line: line, Text: fmt.Sprintf(format, args...)})
}

func (d *document) mistake(line int, format string, args ...any) error {
	d.add(line, format, args...)
	return d.err()
}

func (d *document) err() error {
	if len(d.mistakes) == 0 {
		return nil
	}
	return &Error{Mistakes: d.mistakes}
}

func lineOf(node ast.Node) int {
	if node == nil {
		return 1
	}
	return tokenLine(node.GetToken())
}

func tokenLine(t *token.Token) int {
	if t == nil || t.Position == nil {
		return 1
	}
	return max(1, t.Position.Line)
}

func oneLine(s string) string {
	return strings.Join(strings.Fields(s), " ")
}
