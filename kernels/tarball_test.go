package kernels

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTarballsStayInTheirFolder unpacks what no kernel is released as, the way a
// kernel is unpacked. Refused or not: nothing lies outside, nothing that was
// there is changed.
func TestTarballsStayInTheirFolder(t *testing.T) {
	file := func(name string) tar.Header {
		return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: 4}
	}
	link := func(kind byte, name, target string) tar.Header {
		return tar.Header{Typeflag: kind, Name: name, Linkname: target}
	}
	for name, c := range map[string]struct {
		members func(outside string) []tar.Header
		refused bool
	}{
		"up":          {func(string) []tar.Header { return []tar.Header{file("linux/../../outside/evil")} }, true},
		"up at once":  {func(string) []tar.Header { return []tar.Header{file("../outside/evil")} }, true},
		"absolute":    {func(o string) []tar.Header { return []tar.Header{file(o + "/evil")} }, false},
		"over a file": {func(string) []tar.Header { return []tar.Header{file("linux/../../outside/kept")} }, true},
		"a link, through": {func(o string) []tar.Header {
			return []tar.Header{link(tar.TypeSymlink, "linux/x", o), file("linux/x/evil")}
		}, true},
		"a link up": {func(string) []tar.Header {
			return []tar.Header{link(tar.TypeSymlink, "linux/x", "../../outside"), file("linux/x/evil")}
		}, true},
		"a link to a file": {func(o string) []tar.Header {
			return []tar.Header{link(tar.TypeSymlink, "linux/x", o+"/kept"), file("linux/x")}
		}, false},
		"a hard link": {func(o string) []tar.Header {
			return []tar.Header{link(tar.TypeLink, "linux/x", o+"/kept"), file("linux/x")}
		}, true},
		"a hard link up": {func(string) []tar.Header {
			return []tar.Header{link(tar.TypeLink, "linux/x", "linux/../../outside/kept"), file("linux/x")}
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			around := t.TempDir()
			outside, tree := filepath.Join(around, "outside"), filepath.Join(around, "entry", "tree")
			require.NoError(t, os.MkdirAll(outside, 0o755))
			require.NoError(t, os.MkdirAll(tree, 0o755))
			require.NoError(t, os.WriteFile(filepath.Join(outside, "kept"), []byte("kept"), 0o644))
			packed := filepath.Join(around, "entry", "linux-6.12.1.tar.part")
			require.NoError(t, os.WriteFile(packed, handmade(t, c.members(outside)), 0o644))

			err := unpackTarball(t.Context(), packed, tree)
			require.Equal(t, c.refused, err != nil, "%v", err)
			kept, err := os.ReadFile(filepath.Join(outside, "kept"))
			require.NoError(t, err)
			require.Equal(t, "kept", string(kept))
			for dir, want := range map[string]int{around: 2, outside: 1, filepath.Join(around, "entry"): 2} {
				all, err := os.ReadDir(dir)
				require.NoError(t, err)
				require.Len(t, all, want, "%v", all)
			}
		})
	}
}

// handmade is a kernel's tarball with more in it.
func handmade(t *testing.T, members []tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	put := func(h tar.Header, text string) {
		require.NoError(t, w.WriteHeader(&h))
		_, err := w.Write([]byte(text))
		require.NoError(t, err)
	}
	const makefile = "VERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 1\nEXTRAVERSION =\n"
	put(tar.Header{Typeflag: tar.TypeReg, Name: "linux/Makefile", Mode: 0o644, Size: int64(len(makefile))}, makefile)
	for _, h := range members {
		put(h, "evil"[:h.Size])
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}
