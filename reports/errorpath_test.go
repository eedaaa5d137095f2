package reports

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestErrorPath(t *testing.T) {
	text := strings.Join([]string{
		"int foo_init(void)", // 1
		"{",
		"\ta = kzalloc(8, GFP_KERNEL);",
		"\tif (!a)",
		"\t\treturn -ENOMEM;",
		"\tb = kzalloc(8, GFP_KERNEL);", // 6
		"\tif (!b)",
		"\t\tgoto free_a;",
		"\tset(kzalloc(8, GFP_KERNEL));", // 9
		"\tgo();",
		"\treturn 0;",
		"free_a:", // 12
		"\tkfree(a);",
		"\treturn -ENOMEM;",
		"}",
		"void bar(void)",
		"{",
		"\tkzalloc(8, GFP_KERNEL)->n = 1;", // 18
		"}",
	}, "\n")
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "foo.c"), []byte(text), 0o644))
	src := newSources(&Capture{SourceDir: dir})
	lines := func(at int) (out []int) {
		for _, l := range src.errorPath("foo.c", at) {
			out = append(out, l.Line)
		}
		return out
	}
	assert.Equal(t, []int{3, 4, 5}, lines(3))
	assert.Equal(t, []int{6, 7, 8, 12, 13, 14}, lines(6))
	assert.Equal(t, []int{9, 10, 11}, lines(9), "nothing is checked there: what follows is shown")
	assert.Equal(t, []int{18, 19}, lines(18), "the function's end")
	assert.Nil(t, lines(99))
	assert.Nil(t, src.errorPath("bar.c", 1))
}
