package layer

import (
	"archive/tar"
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var roomy = Limits{Stats: Stats{Files: 100, Bytes: 1 << 20}, Under: []string{"build", "stripped"}}

func unpack(t *testing.T, stream []byte, places Places, limits Limits) (string, error) {
	t.Helper()
	around := t.TempDir() // so that what escapes by one or two steps is seen
	dir := filepath.Join(around, "a", "entry")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	defer root.Close()
	err = Unpack(t.Context(), bytes.NewReader(stream), root, places, limits)
	outside, globErr := filepath.Glob(filepath.Join(around, "*"))
	require.NoError(t, globErr)
	assert.Equal(t, []string{filepath.Join(around, "a")}, outside)
	return dir, err
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	require.NoError(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if rel, _ := filepath.Rel(dir, path); rel != "." {
			all = append(all, rel)
		}
		return err
	}))
	sort.Strings(all)
	return all
}

func put(t *testing.T, dir, name, text string, mode fs.FileMode) {
	t.Helper()
	file := filepath.Join(dir, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(t, os.WriteFile(file, []byte(text), mode))
}

// What make goes by survives: times, programs, links, folders; and the paths in
// text are those of the new place.
func TestRoundTrip(t *testing.T) {
	from := t.TempDir()
	at := time.Unix(1700000000, 123456789)
	put(t, from, "build/.foo.o.cmd", "cmd := gcc -I/src/linux -o "+from+"/build/foo.o\n", 0o644)
	put(t, from, "build/scripts/modpost", "\x7fELF\x00/src/linux", 0o755)
	require.NoError(t, os.Mkdir(filepath.Join(from, "build/empty"), 0o755))
	require.NoError(t, os.Symlink("/src/linux", filepath.Join(from, "build/source")))
	require.NoError(t, os.Symlink("../scripts/modpost", filepath.Join(from, "build/empty/link")))
	require.NoError(t, os.Chtimes(filepath.Join(from, "build/.foo.o.cmd"), at, at))

	pack := func() []byte {
		var b bytes.Buffer
		stats, err := Pack(t.Context(), &b, from, names(t, from), Places{"@B@": from + "/build", "@S@": "/src/linux"})
		require.NoError(t, err)
		require.EqualValues(t, 7, stats.Files)
		return b.Bytes()
	}
	stream := pack()
	require.Equal(t, stream, pack(), "the same files make the same bytes")
	require.NotContains(t, string(stream), from)

	to, err := unpack(t, stream, Places{"@B@": "/new/build", "@S@": "/new/source"}, roomy)
	require.NoError(t, err)
	assert.Equal(t, names(t, from), names(t, to))
	text, err := os.ReadFile(filepath.Join(to, "build/.foo.o.cmd"))
	require.NoError(t, err)
	assert.Equal(t, "cmd := gcc -I/new/source -o /new/build/foo.o\n", string(text))
	info, err := os.Stat(filepath.Join(to, "build/.foo.o.cmd"))
	require.NoError(t, err)
	assert.True(t, info.ModTime().Equal(at), "%s", info.ModTime())
	program, err := os.Stat(filepath.Join(to, "build/scripts/modpost"))
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o755), program.Mode().Perm())
	target, err := os.Readlink(filepath.Join(to, "build/source"))
	require.NoError(t, err)
	assert.Equal(t, "/new/source", target)
}

func TestPackRefusesALinkOut(t *testing.T) {
	from := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(from, "build"), 0o755))
	require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(from, "build/x")))
	_, err := Pack(t.Context(), &bytes.Buffer{}, from, []string{"build/x"}, nil)
	require.ErrorContains(t, err, "out of its folder")
}

// stream is a tar stream by hand.
func stream(t testing.TB, heads ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range heads {
		if h.Typeflag == tar.TypeReg {
			h.Size = 4
		}
		require.NoError(t, w.WriteHeader(&h))
		if h.Size > 0 {
			_, err := w.Write([]byte("evil"))
			require.NoError(t, err)
		}
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

func TestHostileStreams(t *testing.T) {
	file := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644} }
	link := func(name, target string) tar.Header {
		return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target}
	}
	for name, c := range map[string]struct {
		heads []tar.Header
		want  string
	}{
		"up":                 {[]tar.Header{file("../evil")}, "leads out of its folder"},
		"up from within":     {[]tar.Header{file("build/../../evil")}, "leads out of its folder"},
		"absolute":           {[]tar.Header{file("/build/evil")}, "leads out of its folder"},
		"not clean":          {[]tar.Header{file("build/./evil")}, "leads out of its folder"},
		"beside":             {[]tar.Header{file("kernel.json")}, "lies outside of build, stripped"},
		"the folder itself":  {[]tar.Header{file("build")}, "file exists"},
		"link out":           {[]tar.Header{link("build/x", "../../../evil")}, "out of its folder"},
		"absolute link":      {[]tar.Header{link("build/x", "/etc")}, "out of its folder"},
		"empty link":         {[]tar.Header{link("build/x", "")}, "out of its folder"},
		"through a link":     {[]tar.Header{link("build/x", "../stripped"), file("build/x/evil")}, "leads through the link"},
		"link over a link":   {[]tar.Header{link("build/x", "."), link("build/y", "x/../..")}, "climbs where links may be"},
		"file over a link":   {[]tar.Header{link("build/x", "y"), file("build/x")}, "file exists"},
		"twice":              {[]tar.Header{file("build/x"), file("build/x")}, "file exists"},
		"hard link":          {[]tar.Header{{Typeflag: tar.TypeLink, Name: "build/x", Linkname: "/etc/passwd"}}, "neither file, folder nor"},
		"device":             {[]tar.Header{{Typeflag: tar.TypeChar, Name: "build/x"}}, "neither file, folder nor"},
		"more files":         {[]tar.Header{link("build/1", "x"), link("build/2", "x"), link("build/3", "x"), link("build/4", "x")}, "more files than it may"},
		"more bytes":         {[]tar.Header{file("build/1"), file("build/2"), file("build/3")}, "more bytes than it may"},
		"set-user-ID is cut": {[]tar.Header{{Typeflag: tar.TypeReg, Name: "build/x", Mode: 0o6777}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			limits := roomy
			limits.Stats = Stats{Files: 3, Bytes: 10}
			base := append([]tar.Header{}, c.heads...)
			if name == "the folder itself" {
				base = append([]tar.Header{{Typeflag: tar.TypeDir, Name: "build/"}}, base...)
			}
			dir, err := unpack(t, stream(t, base...), nil, limits)
			if c.want != "" {
				require.ErrorContains(t, err, c.want)
				return
			}
			require.NoError(t, err)
			info, err := os.Stat(filepath.Join(dir, "build/x"))
			require.NoError(t, err)
			assert.Equal(t, fs.FileMode(0o755), info.Mode(), "no more than a program")
		})
	}
}

// FuzzUnpack: whatever comes, nothing lands outside of the folder, nothing in it
// resolves to outside of it, and the limits hold.
func FuzzUnpack(f *testing.F) {
	for _, target := range []string{"../stripped", "./..", "x/../..", "/etc"} {
		f.Add(stream(f, tar.Header{Typeflag: tar.TypeSymlink, Name: "build/x", Linkname: target},
			tar.Header{Typeflag: tar.TypeReg, Name: "build/x/evil", Mode: 0o644}))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		dir, _ := unpack(t, stream, nil, roomy)
		real, err := filepath.EvalSymlinks(dir)
		require.NoError(t, err)
		all := names(t, dir)
		require.LessOrEqual(t, len(all), 100*50)
		for _, name := range all {
			to, err := filepath.EvalSymlinks(filepath.Join(dir, name))
			if err == nil {
				require.True(t, to == real || strings.HasPrefix(to, real+"/"), "%s leads to %s", name, to)
			}
		}
	})
}
