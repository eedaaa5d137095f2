package kernels

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNamedAlgorithms(t *testing.T) {
	dir := driver(t, map[string]string{
		"a.c": `#include <crypto/hash.h>
static const char *tests[] = { "hmac(streebog256)", "cbc(aes)" };
MODULE_ALIAS_CRYPTO("streebog256");
int f(void) { crypto_alloc_shash("crc32c", 0, 0); strcmp(s, "sha1"); }
`,
		"b.c": "#include <linux/net.h>\nchar *s = \"ecb(des)\";\n",
	})
	require.NoError(t, os.Symlink("/nowhere.c", filepath.Join(dir, "gone.c")))
	names, err := namedAlgorithms(t.Context(), dir)
	require.NoError(t, err)
	require.Equal(t, []string{"aes", "cbc", "crc32c", "des", "ecb", "hmac"}, names)

	write(t, dir, "a.c", "#include <linux/fs.h>\n")
	names, err = namedAlgorithms(t.Context(), dir)
	require.NoError(t, err)
	require.Empty(t, names, "a driver that has nothing to do with crypto")
}

// An algorithm that the kernel does not know does not keep the others out.
func TestFindAlgorithms(t *testing.T) {
	f := newFinder(t, "")
	f.src = withCrypto()
	added, unresolved, err := f.find(needs{algorithms: []string{"ecb", "unheard-of"}})
	require.NoError(t, err)
	checkFound(t, "CONFIG_NET=y | the driver asks the crypto API for ecb, which is in crypto/ecb.c", added, unresolved)
}
