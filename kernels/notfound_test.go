package kernels

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNotFound(t *testing.T) {
	none := func(newest version, all bool) error { return &unknownError{newest: newest, all: all} }
	silent := errors.New("no such host")
	debian := version{7, 3, 1} // the newest that Debian has
	for _, test := range []struct {
		name              string
		kernelOrg, debian error
		usage             bool
	}{
		{"6.13", none(nil, true), none(debian, false), true},
		{"6.13", none(nil, true), silent, true},      // kernel.org has them all
		{"6.13", silent, none(debian, false), false}, // which kernel.org may have
		{"7.9", silent, none(debian, false), false},
		{"8.1", silent, none(debian, false), false}, // may be a week old
		{"9.1", silent, none(debian, false), true},
		{"99.99", silent, none(debian, false), true},
		{"6.99", silent, none(debian, false), true}, // no first number had so many
		{"2.6.39", silent, none(debian, false), false},
		{"99.99", silent, none(nil, false), false}, // Debian without a package says nothing
		{"99.99", silent, silent, false},
	} {
		want, err := parseVersion(test.name)
		require.NoError(t, err)
		err = notFound(test.name, want, []miss{{"kernel.org", test.kernelOrg}, {"Debian", test.debian}})
		require.Equal(t, test.usage, IsUsage(err), "%v", err)
		cure := cureNetwork
		if test.usage {
			cure = "name another version"
		}
		require.ErrorContains(t, err, cure)
		require.NotContains(t, err.Error(), "\n")
	}
}

// goneServer is the address of one that has hung up for good.
func goneServer(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	return server.URL
}

// bareBuilder has no apt, and no kernel.org but the given.
func bareBuilder(t *testing.T, kernelOrg string) *Builder {
	t.Helper()
	t.Setenv("PATH", t.TempDir())
	b, _ := testBuilder(t)
	b.ReleasesURL, b.ReleasesKey = kernelOrg+"/releases.json", testKey(t)
	return b
}

func TestUnknownVersion(t *testing.T) {
	server := fakeKernelOrg(t, "6.12.9", "7.3.1")
	for _, name := range []string{"6.13", "6.12.8", "99.99", "1.0"} {
		_, err := bareBuilder(t, server.URL).resolve(t.Context(), name)
		require.True(t, IsUsage(err), "%v", err)
		require.ErrorContains(t, err, "kernel.org: has none of "+name)
	}
}

func TestNoNetwork(t *testing.T) {
	sum := "#sha256=" + strings.Repeat("0", 64)
	for _, name := range []string{"6.12", "99.99", "debian:6.12", goneServer(t) + "/linux-6.12.tar.xz" + sum} {
		b := bareBuilder(t, goneServer(t))
		_, err := b.resolve(t.Context(), name)
		require.Error(t, err, name)
		require.False(t, IsUsage(err), "%v", err)
		require.ErrorContains(t, err, ": connect this machine to the network, or name a source directory")
		require.NotContains(t, err.Error(), "\n")
		requireWhole(t, b)
	}
}

// requireWhole wants a cache without entries, done or half done.
func requireWhole(t *testing.T, b *Builder) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(b.Cache.Dir, "*", "*"))
	require.NoError(t, err)
	for _, path := range left {
		require.Equal(t, ".lock", filepath.Ext(path), "left behind")
	}
}

func TestFileThatIsNoTarball(t *testing.T) {
	for name, content := range map[string]string{
		"page.tar.xz":  "<html>Not here</html>\n",
		"empty.tar.gz": "\x1f\x8bgarbage",
		"cut.tar.xz":   "\xfd7zXZ\x00garbage",
		"plain.tar":    strings.Repeat("x", 3000),
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(content)) }))
			defer server.Close()
			b, _ := testBuilder(t)
			_, err := b.resolve(t.Context(), server.URL+"/"+name+"#sha256="+sumOf(content))
			require.ErrorContains(t, err, "kernel: "+name+" is no tarball: ")
			require.ErrorContains(t, err, cureTarball)
			require.NotContains(t, err.Error(), "not recoverable")
			require.NotContains(t, err.Error(), "\n")
			requireWhole(t, b)
		})
	}
}

func sumOf(content string) string {
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])
}
