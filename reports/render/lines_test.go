package render

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLinesAreHarmless(t *testing.T) {
	var out bytes.Buffer
	l := &Lines{Out: &out}
	for _, piece := range []string{"[ 1.0] foo: he", "llo\r\n\x1b[2J::error::mine\n", "  ::set-output name=x::y\nnot yet"} {
		n, err := l.Write([]byte(piece))
		require.NoError(t, err)
		require.Equal(t, len(piece), n)
	}
	require.Equal(t, "[ 1.0] foo: hello\n\\x1b[2J::error::mine\n  \\::set-output name=x::y\n", out.String())
	out.Reset()
	l = &Lines{Out: &out, Prefix: "6.12 x86_64 a\n::b | "}
	_, err := l.Write([]byte("one\ntwo\n"))
	require.NoError(t, err)
	require.Equal(t, 2, strings.Count(out.String(), "\n"))
	require.Regexp(t, `^6\.12 x86_64 a.*::b \| one\n6\.12 x86_64 a.*::b \| two\n$`, out.String())
	_, err = l.Write([]byte(strings.Repeat("x", 10*maxLine)))
	require.NoError(t, err)
	require.LessOrEqual(t, len(l.held), maxLine, "a line without end is not kept")
}
