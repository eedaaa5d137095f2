package initramfs

import (
	"bytes"
	"context"
	"debug/elf"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/cavaliergopher/cpio"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// dirCache is a cache without locks that counts what it has made.
func dirCache(root string, made *int) Cache {
	return func(ctx context.Context, kind, key string, make func(context.Context, string) error) (string, func(), error) {
		dir := filepath.Join(root, kind, key)
		if _, err := os.Stat(dir); err == nil {
			return dir, func() {}, nil
		}
		*made++
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return "", nil, err
		}
		return dir, func() {}, make(ctx, dir)
	}
}

func TestAgentIsStaticAndMadeOnce(t *testing.T) {
	machines := map[string]elf.Machine{"x86_64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}
	made := 0
	b := Builder{Cache: dirCache(t.TempDir(), &made)}
	for arch, machine := range machines {
		path, release, err := b.Agent(t.Context(), arch)
		require.NoError(t, err)
		release()
		again, release, err := b.Agent(t.Context(), arch)
		require.NoError(t, err)
		release()
		assert.Equal(t, path, again)

		content, err := os.ReadFile(path)
		require.NoError(t, err)
		r := cpio.NewReader(bytes.NewReader(content))
		h, err := r.Next()
		require.NoError(t, err)
		assert.Equal(t, "init", h.Name)
		init := make([]byte, h.Size)
		_, err = r.Read(init)
		require.NoError(t, err)
		program, err := elf.NewFile(bytes.NewReader(init))
		require.NoError(t, err)
		assert.Equal(t, machine, program.Machine)
		for _, p := range program.Progs {
			assert.NotEqual(t, elf.PT_INTERP, p.Type, "a dynamic linker is not there")
		}
		assert.NotContains(t, string(init), filepath.Dir(filepath.Dir(path)), "no path of this machine")
	}
	assert.Equal(t, len(machines), made)
}

func TestKeyFollowsTheSources(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.go"), []byte("package a"), 0o644))
	one, err := sourcesOf(dir, ".")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a_test.go"), []byte("package a"), 0o644))
	two, err := sourcesOf(dir, ".")
	require.NoError(t, err)
	assert.Equal(t, one, two, "a test is not part of the program")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "b.go"), []byte("package a"), 0o644))
	three, err := sourcesOf(dir, ".")
	require.NoError(t, err)
	assert.NotEqual(t, digest(one), digest(three))
}

func TestNoToolchain(t *testing.T) {
	made := 0
	b := Builder{Cache: dirCache(t.TempDir(), &made), Go: "no-such-go"}
	_, _, err := b.Agent(t.Context(), "x86_64")
	assert.ErrorContains(t, err, "no-such-go: not found: install Go")
	_, _, err = b.Agent(t.Context(), "sparc")
	assert.ErrorContains(t, err, `unknown architecture "sparc", want x86_64 or arm64`)
}

func TestReleaseNeedsNoToolchain(t *testing.T) {
	Prebuilt = fstest.MapFS{"agent-arm64.cpio": {Data: []byte("070701")}}
	t.Cleanup(func() { Prebuilt = nil })
	made := 0
	b := Builder{Cache: dirCache(t.TempDir(), &made), Go: "no-such-go"}
	path, _, err := b.Agent(t.Context(), "arm64")
	require.NoError(t, err)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "070701", string(content))
	_, _, err = b.Agent(t.Context(), "x86_64")
	assert.ErrorIs(t, err, os.ErrNotExist)
}

// TestCommandsStandInGoMod: uroot.go, which is never compiled, names what
// userland.go compiles.
func TestCommandsStandInGoMod(t *testing.T) {
	text, err := os.ReadFile("uroot.go")
	require.NoError(t, err)
	var imported []string
	for _, m := range regexp.MustCompile(`"`+uroot+`(\S+)"`).FindAllStringSubmatch(string(text), -1) {
		imported = append(imported, m[1])
	}
	var compiled []string
	for _, p := range programs {
		compiled = append(compiled, p.commands...)
	}
	assert.ElementsMatch(t, compiled, imported)
	assert.Contains(t, compiled, "core/gosh", "/bin/sh leads to it")
}

func TestUserlandLinks(t *testing.T) {
	files := shells
	for _, p := range programs {
		files = append(files, p.files([]byte("ELF"))...)
	}
	links := map[string]string{}
	for _, f := range files {
		if f.Link != "" {
			links[f.Name] = f.Link
		}
	}
	assert.Equal(t, "bb", links["bbin/cat"])
	assert.Equal(t, "bb-large", links["bbin/insmod"])
	assert.Equal(t, "../bbin/gosh", links["bin/sh"])
	for name, target := range links {
		assert.False(t, strings.HasPrefix(target, "/"), "%s leads to an absolute path", name)
	}
}
