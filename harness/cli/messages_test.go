package cli

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var updateMessages = flag.Bool("update-messages", false, "rewrite testdata/messages.golden")

// message is an error as the code makes it: what the user sees but for the
// values.
type message struct {
	file, fault, text, cure string
}

// The constructors of errors that end a command, with the places of the text and
// of the cure among their arguments; -1: there is none.
var constructors = map[string]struct {
	fault      string
	text, cure int
}{
	"Usagef":    {"usage", 0, -1},
	"usageErr":  {"usage", 1, 0},
	"hostErr":   {"host", 1, -1},
	"hostError": {"host", 1, 0},
	"fail":      {"guest", 1, -1}, // its reason has a cure in docs/no-verdict.md (TestNoVerdictPage)
	"mistake":   {"file", 1, -1},  // of kmemgate.yml; its line is told with it
	"errorf":    {"file", 1, -1},
}

// Every message that can end a command stands in one file, to be read as a
// whole, and each names what to do: by a cure of its own, in its text, or, if the
// host is at fault, by what the system says (kernels.CureFor).
func TestMessages(t *testing.T) {
	all := messages(t, "harness", "initramfs", "kernels", "scenarios")
	require.Greater(t, len(all), 200)
	var out strings.Builder
	for i, m := range all {
		if i == 0 || all[i-1].file != m.file {
			fmt.Fprintf(&out, "%s\n", m.file)
		}
		fmt.Fprintf(&out, "  %-6s  %s", m.fault, m.text)
		if m.cure != "" {
			fmt.Fprintf(&out, "  ⇒  %s", m.cure)
		}
		out.WriteString("\n")
	}
	golden := "testdata/messages.golden"
	if *updateMessages {
		require.NoError(t, os.WriteFile(golden, []byte(out.String()), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), out.String(), "read what is new as a user would, then: go test ./harness/cli -run TestMessages -update-messages")
}

// namesCure matches texts that tell what to do, or what is wanted in place of
// what was found. A %w is the cure of the error that it stands for.
var namesCure = regexp.MustCompile(`\b(want|name[sd]?|give|choose|leave|say|run|type|remove|wait|write|add|copy|quote|put|must|keep|needs?|takes|allows|move|begin)\b|\bsee |\(.+\)|%w|%v|twice|either|one of|obj-m|is empty|did you mean|commands are|at a time`)

// selfEvident are messages whose text holds no cure, each with the reason: a
// value that ends it does, or what is wrong is all that there is to say.
var selfEvident = map[string]string{
	"devices: %s has no device %q%s":                             "nearDevices ends it: what was meant, or the command that lists them",
	"devices: %s sits on the bus %s: %s":                         "missingBuses ends it: which machine, or which device, to take",
	"%s: no such directory":                                      "the argument is there to be read",
	"bisect: %s is in no git repository":                         "a history is asked for where there is none",
	"bisect: %s is no git repository":                            "the same of --tree",
	"bisect: %s has no work tree":                                "the same of a bare repository",
	"--against: %s is in no git repository":                      "a revision is asked for where there is none",
	"%s: dkms.conf promises %s, but the build did not make it%s": "both sides are named, and the log with what make said",
	"%s": "made of messages that are here",
}

func TestMessagesNameACure(t *testing.T) {
	used := map[string]bool{}
	for _, m := range messages(t, "harness", "initramfs", "kernels", "scenarios") {
		if m.fault == "host" || m.fault == "guest" || m.cure != "" || namesCure.MatchString(m.text) {
			continue
		}
		if m.fault == "file" && strings.Contains(m.text, ";") { // "…; what to write"
			continue
		}
		used[m.text] = true
		assert.NotEmpty(t, selfEvident[m.text], "%s: %q names no cure", m.file, m.text)
	}
	for text, reason := range selfEvident {
		require.True(t, used[text], "%q needs no excuse (%s) any more", text, reason)
	}
}

// messages finds the constructors' calls in the code of folders.
func messages(t *testing.T, folders ...string) (all []message) {
	t.Helper()
	for _, folder := range folders {
		err := filepath.WalkDir(filepath.Join("../..", folder), func(path string, d fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
				all = append(all, messagesOf(t, path)...)
			}
			return err
		})
		require.NoError(t, err)
	}
	return all
}

func messagesOf(t *testing.T, path string) (all []message) {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, nil, 0)
	require.NoError(t, err)
	name := strings.TrimPrefix(filepath.ToSlash(path), "../../")
	ast.Inspect(file, func(node ast.Node) bool {
		m, ok := messageOf(files, node)
		if ok {
			m.file = name
			all = append(all, m)
		}
		return true
	})
	return all
}

func messageOf(files *token.FileSet, node ast.Node) (message, bool) {
	switch n := node.(type) {
	case *ast.CallExpr:
		c, ok := constructors[calledName(n)]
		if !ok || len(n.Args) <= c.text {
			return message{}, false
		}
		m := message{fault: c.fault, text: said(files, n.Args[c.text])}
		if c.cure >= 0 {
			m.cure = said(files, n.Args[c.cure])
		}
		// A constructor's own body passes the format on.
		return m, isMessage(m.text)
	case *ast.CompositeLit:
		return literalMessage(files, n)
	}
	return message{}, false
}

func calledName(call *ast.CallExpr) string {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}

// literalMessage reads &Error{Fault: …, Err: …, Cure: …} of kernels.
func literalMessage(files *token.FileSet, lit *ast.CompositeLit) (message, bool) {
	if name, ok := lit.Type.(*ast.Ident); !ok || name.Name != "Error" {
		return message{}, false
	}
	fields := map[string]string{}
	for _, element := range lit.Elts {
		if pair, ok := element.(*ast.KeyValueExpr); ok {
			fields[said(files, pair.Key)] = said(files, pair.Value)
		}
	}
	fault := strings.ToLower(strings.TrimPrefix(fields["Fault"], "Fault"))
	m := message{fault: fault, text: fields["Err"], cure: fields["Cure"]}
	return m, strings.HasPrefix(fields["Fault"], "Fault") && isMessage(m.text)
}

// isMessage leaves out what passes on a text of elsewhere: a constructor's own
// body, an error made before.
func isMessage(text string) bool {
	return !strings.HasPrefix(text, "format") && !strings.HasPrefix(text, "reports.") && text != "err"
}

// said is a text without its quotes, the format of an fmt.Errorf, or the code of
// anything else.
func said(files *token.FileSet, expr ast.Expr) string {
	if call, ok := expr.(*ast.CallExpr); ok && calledName(call) == "Errorf" && len(call.Args) > 0 {
		expr = call.Args[0]
	}
	if text, ok := expr.(*ast.BasicLit); ok && text.Kind == token.STRING {
		if plain, err := strconv.Unquote(text.Value); err == nil {
			return strings.ReplaceAll(plain, "\n", "⏎")
		}
	}
	var code bytes.Buffer
	if err := printer.Fprint(&code, files, expr); err != nil {
		return err.Error()
	}
	return strings.Join(slices.Collect(strings.FieldsSeq(code.String())), " ")
}
