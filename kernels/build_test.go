package kernels

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/kconfig"
)

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
}

// image is the text of the objects that a fake kernel was made of.
func image(t *testing.T, k *Kernel) string {
	t.Helper()
	content, err := os.ReadFile(k.Image)
	require.NoError(t, err)
	_, text, ok := strings.Cut(string(content), "\nmade of\n")
	require.True(t, ok)
	return text
}

func TestBuildTakesWhatIsBuiltFromTheCache(t *testing.T) {
	needTools(t)
	b, log := testBuilder(t)
	spec := Spec{Source: fakeKernel(t, t.TempDir(), "6.12.7"), Arch: hostArch(t)}
	k, err := b.Kernel(t.Context(), spec)
	require.NoError(t, err)
	require.Equal(t, "6.12.7", k.Release)
	require.Equal(t, "int a;\nint b;\nint c;\n", image(t, k))
	require.Contains(t, log.String(), "building with")

	again := &Builder{Cache: &Cache{Dir: b.Cache.Dir}, Log: &logBuffer{}}
	defer again.Close()
	k2, err := again.Kernel(t.Context(), spec)
	require.NoError(t, err)
	require.Equal(t, k, k2)
	require.NotContains(t, again.Log.(*logBuffer).String(), "building with")

	found, err := again.Path(t.Context(), spec)
	require.NoError(t, err)
	require.Equal(t, k, found)
	listed, err := again.List()
	require.NoError(t, err)
	require.Len(t, listed, 1)
	want := *k
	want.Spec = Spec{} // who asked for it is not kept
	require.Equal(t, want, listed[0].Kernel)
}

func TestEditedDirectoryIsBuiltIncrementally(t *testing.T) {
	needTools(t)
	b, _ := testBuilder(t)
	dir := fakeKernel(t, t.TempDir(), "6.12.7")
	spec := Spec{Source: dir, Arch: hostArch(t)}
	first, err := b.Kernel(t.Context(), spec)
	require.NoError(t, err)

	time.Sleep(20 * time.Millisecond) // make goes by times
	write(t, dir, "b.c", "int edited;\n")
	second, err := b.Kernel(t.Context(), spec)
	require.NoError(t, err)
	require.NotEqual(t, first.Key, second.Key)
	require.Equal(t, "int a;\nint edited;\nint c;\n", image(t, second))
	require.Equal(t, "int a;\nint b;\nint c;\n", image(t, first), "the first build must not change")
	log, err := os.ReadFile(second.Dir + ".log")
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(log), "  CC  "), "only b.c is compiled again:\n%s", log)
}

func TestKernelWithOneOptionMoreIsBuiltOnTheNearest(t *testing.T) {
	needTools(t)
	content, sum := tarball(t, fakeKernel(t, t.TempDir(), "6.12.7"))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(content) }))
	defer server.Close()
	b, log := testBuilder(t)
	spec := Spec{Source: server.URL + "/linux.tar#sha256=" + sum, Arch: hostArch(t)}
	first, err := b.Kernel(t.Context(), spec)
	require.NoError(t, err)

	more, err := kconfig.FromLines([]string{"CONFIG_MORE=y"}, "kmemgate.yml", []int{4})
	require.NoError(t, err)
	spec.Config = []kconfig.Fragment{more}
	second, err := b.Kernel(t.Context(), spec)
	require.NoError(t, err)
	require.NotEqual(t, first.Key, second.Key)
	require.Contains(t, log.String(), "building on "+first.Key)
	config, err := os.ReadFile(second.Config)
	require.NoError(t, err)
	require.Contains(t, string(config), "CONFIG_MORE=y\n")
	made, err := os.ReadFile(second.Dir + ".log")
	require.NoError(t, err)
	require.NotContains(t, string(made), "  CC  ")
	require.Equal(t, image(t, first), image(t, second))

	other, err := kconfig.FromLines([]string{"CONFIG_MORE=y", "CONFIG_STILL_MORE=y"}, "kmemgate.yml", []int{4, 5})
	require.NoError(t, err)
	spec.Config = []kconfig.Fragment{other}
	_, err = b.Kernel(t.Context(), Spec{Source: spec.Source, Arch: spec.Arch}) // the last that was used
	require.NoError(t, err)
	_, err = b.Kernel(t.Context(), spec)
	require.NoError(t, err)
	require.Contains(t, log.String(), "building on "+second.Key)
}

// The base is nearer to a driver's kernel than one that has more of what is asked
// for and much else; one of a driver of its kind is nearer still.
func TestApart(t *testing.T) {
	options := func(n int, more ...string) (all []kconfig.Option) {
		for i := range n {
			all = append(all, kconfig.Option{Name: fmt.Sprintf("CONFIG_%d", i), Value: "y"})
		}
		for _, m := range more {
			all = append(all, kconfig.Option{Name: "CONFIG_" + m, Value: "y"})
		}
		return all
	}
	want := options(90, "MD", "DM")
	base, sweep, kind := options(600), options(870, "MD"), options(605, "MD", "DM")
	require.Less(t, apart(base, want), apart(sweep, want))
	require.Less(t, apart(kind, want), apart(base, want))
}

// The notes of make say where the tree was; objtool would be built again, and
// with it every object.
func TestCopiedTreeIsAtHomeInItsPlace(t *testing.T) {
	tree := t.TempDir()
	write(t, tree, ".check.o.cmd", "cmd_/cache/a/build/check.o := gcc -c -o /cache/a/build/check.o\n")
	write(t, tree, ".a.o.cmd", "cmd_a.o := gcc -c\n")
	write(t, tree, "a.ko", "")
	write(t, tree, "a.o", "/cache/a/build")
	require.NoError(t, settle(tree, "/cache/a/build", "/cache/b/build"))
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(tree, name))
		require.NoError(t, err)
		return string(text)
	}
	require.Equal(t, "cmd_/cache/b/build/check.o := gcc -c -o /cache/b/build/check.o\n", read(".check.o.cmd"))
	require.Equal(t, "cmd_a.o := gcc -c\n", read(".a.o.cmd"))
	require.Equal(t, "/cache/a/build", read("a.o"), "an object says what it was compiled as")
	require.NoFileExists(t, filepath.Join(tree, "a.ko"))
}

// A file that went back to an older state has an older time as well: make
// would keep the object of the newer one.
func TestDirectoryWithOlderFilesIsBuiltAnew(t *testing.T) {
	needTools(t)
	b, _ := testBuilder(t)
	dir := fakeKernel(t, t.TempDir(), "6.12.7")
	spec := Spec{Source: dir, Arch: hostArch(t)}
	_, err := b.Kernel(t.Context(), spec)
	require.NoError(t, err)
	write(t, dir, "b.c", "int older;\n")
	then := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(filepath.Join(dir, "b.c"), then, then))
	k, err := b.Kernel(t.Context(), spec)
	require.NoError(t, err)
	require.Equal(t, "int a;\nint older;\nint c;\n", image(t, k))
}

func TestInterruptedBuildGoesOn(t *testing.T) {
	needTools(t)
	b, log := testBuilder(t)
	dir := fakeKernel(t, t.TempDir(), "6.12.7")
	write(t, dir, "c.c", "// WAIT\n")
	spec := Spec{Source: dir, Arch: hostArch(t)}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		for ctx.Err() == nil {
			waiting, _ := filepath.Glob(filepath.Join(b.Cache.Dir, KindKernels, "*/build/waiting"))
			built, _ := filepath.Glob(filepath.Join(b.Cache.Dir, KindKernels, "*/build/[ab].o"))
			if len(waiting) == 1 && len(built) == 2 {
				cancel()
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	start := time.Now()
	_, err := b.Kernel(ctx, spec)
	require.ErrorIs(t, err, context.Canceled)
	require.Less(t, time.Since(start), 30*time.Second, "the build must not be waited for")
	listed, err := b.List()
	require.NoError(t, err)
	require.Empty(t, listed, "what is not finished is no kernel")

	// The same tree, so the same key, but nothing to wait for any more: the
	// words are in a file that make does not compare.
	fake, err := os.ReadFile(filepath.Join(dir, "c.c"))
	require.NoError(t, err)
	require.Contains(t, string(fake), "WAIT")
	entries, err := b.Cache.List()
	require.NoError(t, err)
	require.Len(t, entries, 1)
	require.FileExists(t, filepath.Join(entries[0].Path, "build/a.o"))
	write(t, filepath.Join(entries[0].Path, "build"), "c.o", "int c;\n")

	k, err := b.Kernel(t.Context(), spec)
	require.NoError(t, err)
	require.Equal(t, "int a;\nint b;\nint c;\n", image(t, k))
	built, err := os.ReadFile(k.Dir + ".log")
	require.NoError(t, err)
	require.NotContains(t, string(built), "  CC  ", "nothing is compiled twice")
	require.NotContains(t, log.String(), "damaged")
}

func TestKernelThatDoesNotCompile(t *testing.T) {
	needTools(t)
	b, _ := testBuilder(t)
	dir := fakeKernel(t, t.TempDir(), "6.12.7")
	write(t, dir, "b.c", "SYNTAX\n")
	_, err := b.Kernel(t.Context(), Spec{Source: dir, Arch: hostArch(t)})
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, FaultKernel, e.Fault)
	require.Contains(t, err.Error(), "b.c:1:1: error: expected identifier")
	require.NotContains(t, err.Error(), "\n")
	require.FileExists(t, e.Log)
}

func TestFullDiskIsNotTheKernelsFault(t *testing.T) {
	needTools(t)
	b, _ := testBuilder(t)
	dir := fakeKernel(t, t.TempDir(), "6.12.7")
	write(t, dir, "b.c", "FULL\n")
	_, err := b.Kernel(t.Context(), Spec{Source: dir, Arch: hostArch(t)})
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, FaultHost, e.Fault)
	require.ErrorContains(t, err, "kmemgate cache prune")
}

func TestDamagedKernelIsBuiltAgain(t *testing.T) {
	needTools(t)
	b, log := testBuilder(t)
	spec := Spec{Source: fakeKernel(t, t.TempDir(), "6.12.7"), Arch: hostArch(t)}
	k, err := b.Kernel(t.Context(), spec)
	require.NoError(t, err)
	b.Close()
	require.NoError(t, os.Truncate(k.Image, 3))
	k, err = b.Kernel(t.Context(), spec)
	require.NoError(t, err)
	require.Equal(t, "int a;\nint b;\nint c;\n", image(t, k))
	require.Contains(t, log.String(), "is damaged")
}

func TestPathOfAKernelThatIsNotBuilt(t *testing.T) {
	needTools(t)
	b, _ := testBuilder(t)
	_, err := b.Path(t.Context(), Spec{Source: "6.12", Arch: hostArch(t)})
	require.ErrorContains(t, err, "is not built: kmemgate kernel build 6.12/"+hostArch(t)) // harness/cli tries it
	require.False(t, IsUsage(err))
	_, err = b.Path(t.Context(), Spec{Source: "6.12", Arch: hostArch(t), Config: []kconfig.Fragment{{Name: "my.config"}}})
	require.ErrorContains(t, err, "kmemgate kernel build 6.12/"+hostArch(t)+" --config my.config")
}

func TestUnknownNames(t *testing.T) {
	empty := t.TempDir()
	file := filepath.Join(empty, "file")
	write(t, empty, "file", "")
	for _, name := range []string{"", "six", "6.12.1.4", "debian:sid", empty, file, "ftp://host/linux.tar.xz#sha256=" + strings.Repeat("0", 64),
		"https://host/linux.tar.xz", "https://host/linux.tar.xz#sha256=12", "https://host/linux.tar.xz#md5=" + strings.Repeat("0", 64), "6.12-rc1"} {
		err := CheckName(name)
		require.Error(t, err, "%q", name)
		require.True(t, IsUsage(err), "%q: %v", name, err)
		require.NotContains(t, err.Error(), "\n")
	}
	for _, name := range []string{"6.12", "7", "6.1.192", "debian:6.12", "https://host/linux.tar.xz#sha256=" + strings.Repeat("A", 64)} {
		require.NoError(t, CheckName(name))
	}
}

func TestUnknownArchitecture(t *testing.T) {
	b, _ := testBuilder(t)
	_, err := b.Kernel(t.Context(), Spec{Source: "6.12", Arch: "vax"})
	require.True(t, IsUsage(err))
	require.ErrorContains(t, err, "arm64 or x86_64")
}

func TestMissingCrossCompilerNamesItsPackage(t *testing.T) {
	needTools(t)
	foreign := "arm64"
	if hostArch(t) == foreign {
		foreign = "x86_64"
	}
	// A PATH with all but the cross compiler.
	bin := t.TempDir()
	for _, tool := range Tools(hostArch(t), false) {
		path, err := lookTool(tool)
		require.NoError(t, err)
		_ = os.Symlink(path, filepath.Join(bin, tool)) // gcc is named twice
	}
	t.Setenv("PATH", bin)
	b, _ := testBuilder(t)
	_, err := b.Kernel(t.Context(), Spec{Source: "6.12", Arch: foreign})
	var e *Error
	require.True(t, errors.As(err, &e))
	require.Equal(t, FaultHost, e.Fault)
	require.Contains(t, err.Error(), archs[foreign].cross+"gcc: not found: "+CureOf(archs[foreign].cross+"gcc"))
}
