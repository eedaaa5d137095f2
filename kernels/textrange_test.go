package kernels

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTextRange(t *testing.T) {
	// Lines of 6.12.117's System.map; the last function is another file's.
	const text = `ffffffff81159f20 t kmemleak_disable
ffffffff81159f90 t __alloc_object
ffffffff8115a180 t __link_object
ffffffff8115a330 t __create_object
ffffffff8115a8a0 t kmemleak_do_cleanup
ffffffff81713d44 r __ksymtab_kmemleak_update_trace
ffffffff81801000 t create_object
ffffffff81801040 T start_kernel
`
	k := &Kernel{Build: t.TempDir()}
	_, _, err := TextRange(k, "__alloc_object")
	require.Error(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(k.Build, "System.map"), []byte(text), 0o644))
	start, end, err := TextRange(k, "mem_pool_alloc", "__create_object", "__alloc_object", "create_object")
	require.NoError(t, err)
	assert.Equal(t, []uint64{0xffffffff81159f90, 0xffffffff8115a8a0}, []uint64{start, end})
	_, _, err = TextRange(k, "mem_pool_alloc")
	assert.ErrorContains(t, err, "none of mem_pool_alloc")
}
