package cli

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// shardsOf counts the cells of each pair.
func shardsOf(cells []matrixCell) map[string]int {
	n := map[string]int{}
	for _, c := range cells {
		n[c.Kernel+" "+c.Arch]++
	}
	return n
}

func TestBalance(t *testing.T) {
	pairs := []matrixPair{{"6.12", "x86_64", 100}, {"6.12", "arm64", 300}, {"6.1", "arm64", 0}}
	cells := balance(pairs, 9)
	// 100/2, 300/4 and the average, 200/3: no job is much longer than another.
	assert.Equal(t, map[string]int{"6.12 x86_64": 2, "6.12 arm64": 4, "6.1 arm64": 3}, shardsOf(cells))
	assert.Equal(t, matrixCell{"cell-6.12-arm64-2-of-4", "6.12", "arm64", "2/4", 75}, cells[3])
	assert.Zero(t, cells[8].Seconds, "no time is made up where none is known")

	for i := range pairs {
		pairs[i].seconds = 0
	}
	assert.Equal(t, map[string]int{"6.12 x86_64": 3, "6.12 arm64": 3, "6.1 arm64": 3}, shardsOf(balance(pairs, 9)))
	pairs[0].seconds = 1e9
	assert.Equal(t, 1, shardsOf(balance(pairs, 3))["6.12 arm64"], "every pair gets a shard, however quick")
}

func TestMatrixPairs(t *testing.T) {
	pairs, err := matrixPairs([]string{"6.12", "6.12"}, []string{"x86_64"}, 1)
	require.NoError(t, err)
	assert.Len(t, pairs, 1, "the same twice is one job")
	_, err = matrixPairs([]string{"6.12"}, []string{"x86_64", "arm64"}, 129)
	assert.ErrorContains(t, err, "258 jobs, GitHub allows 1 to 256")
}

func TestMatrixNamesAreOfFolders(t *testing.T) {
	cells := balance([]matrixPair{{"debian:6.12", "arm64", 0}, {"/src/linux", "x86_64", 0}}, 2)
	assert.Equal(t, "cell-debian_6.12-arm64-1-of-1", cells[0].Name)
	assert.Equal(t, "cell-_src_linux-x86_64-1-of-1", cells[1].Name)
}
