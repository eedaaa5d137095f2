package harness

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestOutputFrom(t *testing.T) {
	const said = "[ 1.0] rcu: stall\r\nkmemgat\r\nkmemgate: hello\r\n$ kmemgate: again"
	var whole, bytewise bytes.Buffer
	_, err := (&outputFrom{mark: []byte("kmemgate:"), out: &whole}).Write([]byte(said))
	require.NoError(t, err)
	one := &outputFrom{mark: []byte("kmemgate:"), out: &bytewise}
	for i := range len(said) {
		n, err := one.Write([]byte(said[i : i+1]))
		require.NoError(t, err)
		assert.Equal(t, 1, n)
	}
	const shown = "kmemgate: hello\r\n$ kmemgate: again"
	assert.Equal(t, shown, whole.String())
	assert.Equal(t, shown, bytewise.String())
}
