package kconfig

import (
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func readTestTree(t *testing.T, arch string) *Tree {
	t.Helper()
	tree, err := ReadTree(os.DirFS(filepath.Join("testdata", "tree")), arch)
	require.NoError(t, err)
	require.Empty(t, tree.Unread)
	return tree
}

func TestReadTreeFollowsTheArchitecture(t *testing.T) {
	x86, arm := readTestTree(t, "x86_64"), readTestTree(t, "arm64")
	assert.True(t, x86.Knows("CONFIG_X86_64"))
	assert.False(t, arm.Knows("X86_64"))
	assert.True(t, arm.Knows("ARM64"))
	assert.False(t, x86.Knows("IN_THE_HELP_TEXT"))
	assert.False(t, x86.Knows("ASYNC"), "an implied name alone defines nothing")
	assert.Equal(t, []Reverse{{Name: "ARM64"}}, arm.Symbol("HAVE_DEBUG_KMEMLEAK").SelectedBy)
}

func TestReadTreeDefinition(t *testing.T) {
	md := readTestTree(t, "x86_64").Symbol("CONFIG_MD")
	require.NotNil(t, md)
	require.Len(t, md.Defs, 1)
	d := md.Defs[0]
	assert.Equal(t, "tristate", md.Type)
	assert.Equal(t, "RAID", d.Prompt)
	assert.Equal(t, Position{"drivers/Kconfig", 24}, d.Pos)
	assert.Equal(t, "!NO_DRIVERS && BLOCK && (!INET || NET)", d.Depends.String())
	assert.Equal(t, "EXPERT || EMBEDDED", d.PromptIf.String())
	require.Len(t, d.Selects, 2)
	assert.Equal(t, "!(TMPFS = y)", d.Selects[1].If.String())
	assert.Equal(t, "ASYNC", d.Implies[0].Name)
}

func TestReadTreeChoiceAndRange(t *testing.T) {
	tree := readTestTree(t, "x86_64")
	c := tree.Symbol("UNWINDER_FP").Defs[0].Choice
	require.NotNil(t, c)
	assert.Equal(t, []string{"UNWINDER_ORC", "UNWINDER_FP"}, c.Members)
	assert.Equal(t, "Unwinder", c.Prompt)
	assert.Nil(t, tree.Symbol("FRAME_POINTER").Defs[0].Choice)
	assert.Equal(t, []Range{{Low: "200", High: "1000000"}}, tree.Symbol("DEBUG_KMEMLEAK_MEM_POOL_SIZE").Defs[0].Ranges)
}

func TestReadTreeErrors(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"no Kconfig": {nil, "open Kconfig"},
		"missing":    {map[string]string{"Kconfig": "source \"a/Kconfig\"\n"}, "Kconfig:1: source: open a/Kconfig"},
		"itself":     {map[string]string{"Kconfig": "source \"Kconfig\"\n"}, "does it include itself?"},
		"outside":    {map[string]string{"Kconfig": "source \"../x\"\n"}, "open ../x"},
		"open":       {map[string]string{"Kconfig": "\nmenu \"x\"\n"}, "Kconfig:2: menu without its end"},
		"crossed":    {map[string]string{"Kconfig": "menu \"x\"\nendif\n"}, "Kconfig:2: endif without its if"},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := fstest.MapFS{}
			for f, text := range c.files {
				fsys[f] = &fstest.MapFile{Data: []byte(text)}
			}
			_, err := ReadTree(fsys, "x86_64")
			require.ErrorContains(t, err, c.want)
		})
	}
	_, err := ReadTree(fstest.MapFS{}, "mips")
	require.ErrorContains(t, err, "want x86_64 or arm64")
}

// What a newer kernel's Kconfig brings is named, and the rest is read.
func TestReadTreeUnread(t *testing.T) {
	text := "config A\n\tbool \"a\"\n\tfrobnicate on B\n\tdepends on (B\n\nconfig C\n\tbool 'c\n\tdepends on A\n"
	tree, err := ReadTree(fstest.MapFS{"Kconfig": {Data: []byte(text)}}, "arm64")
	require.NoError(t, err)
	require.Len(t, tree.Unread, 3)
	assert.ErrorContains(t, tree.Unread[0], `Kconfig:3: "frobnicate": an attribute`)
	assert.ErrorContains(t, tree.Unread[1], "Kconfig:4: depends on: expression: want a closing bracket")
	assert.ErrorContains(t, tree.Unread[2], "Kconfig:7: string without its closing quote")
	assert.Equal(t, "A", tree.Symbol("C").Defs[0].Depends.String())
}

func TestExprEval(t *testing.T) {
	have := settings{"Y": "y", "M": "m", "INT": "17", "STR": `"x86"`}
	for text, want := range map[string]Level{
		"Y && M":                         Module,
		"Y || M":                         Yes,
		"!M":                             Module,
		"!(Y && M)":                      Module,
		"!M=y":                           Yes,
		"M = m":                          Yes,
		"OFF = n":                        Yes,
		"OFF != y && Y":                  Yes,
		"INT >= 0x11":                    Yes,
		"INT < 9":                        No,
		`STR = "x86"`:                    Yes,
		"$(cc-option,-fx(y)) && Y":       Yes,
		"$(success,true) = y || OFF":     Yes,
		"OFF || (M && (Y || OFF)) || No": Module,
		"y && m":                         Module,
	} {
		tokens, err := tokenize(text, nil)
		require.NoError(t, err, text)
		e, err := wholeExpr(tokens)
		require.NoError(t, err, text)
		assert.Equal(t, want, e.Eval(have.get), text)
	}
}

func FuzzExpr(f *testing.F) {
	f.Add("A && (!B || C=y) && \"x\" != D")
	f.Add("((((!!A))))")
	f.Fuzz(func(t *testing.T, text string) {
		e := exprOf(text)
		if e == nil {
			return
		}
		printed := e.String()
		again := exprOf(printed)
		if again == nil || again.String() != printed {
			t.Fatalf("%q prints as %q, which is read as %v", text, printed, again)
		}
	})
}

func exprOf(text string) *Expr {
	tokens, err := tokenize(text, nil)
	if err != nil {
		return nil
	}
	for _, tok := range tokens {
		if tok.kind == quoted || tok.kind == macro {
			return nil // printed in another form
		}
	}
	e, err := wholeExpr(tokens)
	if err != nil {
		return nil
	}
	return e
}
