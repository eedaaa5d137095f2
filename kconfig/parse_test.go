package kconfig

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func parse(t *testing.T, name, text string) Fragment {
	t.Helper()
	f, err := Parse(strings.NewReader(text), name)
	require.NoError(t, err)
	return f
}

func TestParse(t *testing.T) {
	f := parse(t, "x.config", `
# a comment, and CONFIG_IGNORED=y in it
CONFIG_SMP=y
# CONFIG_NET is not set
CONFIG_CMDLINE="quiet \"x\" # no comment"
CONFIG_PAGE_OFFSET=0xC0000000
CONFIG_SHIFT=-17
# where possible: not everywhere
#   (another comment may stand between)
CONFIG_FILTER=m
`)
	want := []Option{
		{Name: "CONFIG_SMP", Value: "y", Pos: Position{"x.config", 3}},
		{Name: "CONFIG_NET", Value: "n", Pos: Position{"x.config", 4}},
		{Name: "CONFIG_CMDLINE", Value: `"quiet \"x\" # no comment"`, Pos: Position{"x.config", 5}},
		{Name: "CONFIG_PAGE_OFFSET", Value: "0xC0000000", Pos: Position{"x.config", 6}},
		{Name: "CONFIG_SHIFT", Value: "-17", Pos: Position{"x.config", 7}},
		{Name: "CONFIG_FILTER", Value: "m", Pos: Position{"x.config", 10}, When: WherePossible},
	}
	assert.Equal(t, want, f.Options)

	o, ok := f.Get("NET")
	assert.True(t, ok)
	assert.Equal(t, "n", o.Value)
	_, ok = f.Get("CONFIG_IGNORED")
	assert.False(t, ok)
}

func TestParseErrors(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"no option":     {"CONFIG_A=y\nFOO\n", `x.config:2: "FOO": want CONFIG_NAME=value`},
		"bad value":     {"CONFIG_A=yes\n", `x.config:1: "CONFIG_A=yes": want y, m, n, a number`},
		"open string":   {"CONFIG_A=\"x\n", `want y, m, n, a number or a "quoted string"`},
		"contradiction": {"CONFIG_A=y\n\n# CONFIG_A is not set\n", "x.config:3: CONFIG_A=n, but x.config:1 has CONFIG_A=y"},
		"dangling":      {"CONFIG_A=y\n# where known: 7.0\n", `x.config:2: "# where known": want an option`},
		"two marks":     {"# else\n# where known\nCONFIG_A=y\n", `x.config:1: "# else": want an option`},
		"long line":     {"CONFIG_A=y\n#" + strings.Repeat("x", maxLine), "x.config:2: bufio.Scanner: token too long"},
		"binary":        {"\x7fELF" + strings.Repeat("\x00", 200), "x.config:1: "},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(strings.NewReader(c.text), "x.config")
			require.ErrorContains(t, err, c.want)
			assert.Less(t, len(err.Error()), 600)
		})
	}
}

func TestFromLines(t *testing.T) {
	f, err := FromLines([]string{"CONFIG_VIDEO_DEV=m", "I2C=y", "# CONFIG_NET is not set"}, "kmemgate.yml", []int{4, 5, 9})
	require.NoError(t, err)
	assert.Equal(t, []Option{
		{Name: "CONFIG_VIDEO_DEV", Value: "m", Pos: Position{"kmemgate.yml", 4}},
		{Name: "CONFIG_I2C", Value: "y", Pos: Position{"kmemgate.yml", 5}},
		{Name: "CONFIG_NET", Value: "n", Pos: Position{"kmemgate.yml", 9}},
	}, f.Options)

	for text, want := range map[string]string{
		"I2C":   `kmemgate.yml:7: "CONFIG_I2C": want CONFIG_NAME=value`,
		"I2C=":  `kmemgate.yml:7: "CONFIG_I2C=": want a value`,
		"# I2C": `kmemgate.yml:7: "# I2C": want CONFIG_NAME=value`,
	} {
		_, err := FromLines([]string{text}, "kmemgate.yml", []int{7})
		require.ErrorContains(t, err, want)
	}
}

func TestMergeNamesBothLines(t *testing.T) {
	a := parse(t, "a.config", "CONFIG_A=y\nCONFIG_B=m\nCONFIG_C=1\n")
	b := parse(t, "b.config", "CONFIG_D=y\nCONFIG_B=y\n# where known\nCONFIG_A=y\nCONFIG_C=2\n")
	_, err := Merge(a, b)
	require.ErrorContains(t, err, "b.config:2: CONFIG_B=y, but a.config:2 has CONFIG_B=m")
	require.ErrorContains(t, err, "b.config:5: CONFIG_C=2, but a.config:3 has CONFIG_C=1")
}

func TestMergeKeepsTheStricter(t *testing.T) {
	soft := parse(t, "soft", "# where possible\nCONFIG_A=y\n")
	hard := parse(t, "hard", "CONFIG_A=y\nCONFIG_B=y\n")
	f, err := Merge(soft, hard)
	require.NoError(t, err)
	assert.Equal(t, "soft+hard", f.Name)
	assert.Equal(t, []Option{
		{Name: "CONFIG_A", Value: "y", Pos: Position{"soft", 2}},
		{Name: "CONFIG_B", Value: "y", Pos: Position{"hard", 2}},
	}, f.Options)
}

func TestOverrideLastWins(t *testing.T) {
	base := parse(t, "base", "CONFIG_A=y\n# where possible\nCONFIG_B=200\n")
	f := Override(base, parse(t, "one", "CONFIG_B=1\nCONFIG_C=y\n"), parse(t, "two", "CONFIG_B=2\n"))
	assert.Equal(t, []Option{
		{Name: "CONFIG_A", Value: "y", Pos: Position{"base", 1}},
		{Name: "CONFIG_B", Value: "2", Pos: Position{"two", 1}},
		{Name: "CONFIG_C", Value: "y", Pos: Position{"one", 2}},
	}, f.Options)
	assert.Equal(t, "y", base.Options[0].Value, "the base is not written to")
	assert.Equal(t, "200", base.Options[1].Value, "the base is not written to")
}

// FuzzParse: what Parse takes, WriteTo prints so that Parse reads the same again.
func FuzzParse(f *testing.F) {
	f.Add("CONFIG_A=y\n# CONFIG_B is not set\n# else: x\nCONFIG_C=\"\\\\\"\nCONFIG_D=\n")
	f.Add("CONFIG_A=n\r\nCONFIG_A=n\n  CONFIG_E=0x10\n")
	f.Fuzz(func(t *testing.T, text string) {
		first, err := Parse(strings.NewReader(text), "f")
		if err != nil {
			return
		}
		var out strings.Builder
		_, err = first.WriteTo(&out)
		require.NoError(t, err)
		again, err := Parse(strings.NewReader(out.String()), "f")
		require.NoError(t, err)
		require.Len(t, again.Options, len(first.Options))
		for i, o := range first.Options {
			again.Options[i].Pos = o.Pos
			require.Equal(t, o, again.Options[i])
		}
	})
}
