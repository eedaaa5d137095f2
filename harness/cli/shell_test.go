package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A driver that is not for this architecture has no guest to give a prompt in.
func TestShellOfADriverThatDoesNotApply(t *testing.T) {
	needGuest(t)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "dkms.conf"), []byte(dkmsConf("BUILD_EXCLUSIVE_ARCH=s390x\n")), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "good.c"), []byte(goodModule), 0o644))
	var stdout, stderr bytes.Buffer
	status := Main([]string{"shell", dir}, nil, &stdout, &stderr)
	require.Equal(t, exitNone, status)
	require.Contains(t, stderr.String(), "kmemgate: skipped: BUILD_EXCLUSIVE_ARCH=\"s390x\", and this is")
	require.Empty(t, stdout.String())
}
