// Package kerneltest has the source of a kernel for tests of what fetches, builds
// and keeps kernels: a few files that build like one, in a moment, into what no
// machine boots.
package kerneltest

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/kconfig"
)

// Hold is a variable of the environment: while the file that it names is there, no
// object is made.
const Hold = "KMEMGATE_TEST_HOLD"

// makefile plays the kernel's: the same targets and variables, three objects, which
// can be made to fail, to wait once, and to wait for a file to go (Hold). It has no
// headers to build kmemgate's own module with, which is empty here.
const makefile = `VERSION = %s
PATCHLEVEL = %s
SUBLEVEL = %s
EXTRAVERSION =

objects := $(O)/a.o $(O)/b.o $(O)/c.o

tinyconfig:
	@echo '# tiny' > $(O)/.config
	@echo 'CONFIG_TINY=y' >> $(O)/.config
olddefconfig:
	@mkdir -p $(O)/include/config
	@echo '$(VERSION).$(PATCHLEVEL).$(SUBLEVEL)' > $(O)/include/config/kernel.release
vmlinux Image: $(objects)
	@mkdir -p $(O)/arch/arm64/boot
	@cat $(objects) | gcc -x c -nostdlib -static -Wl,-e,0 -o $(O)/vmlinux -
	@{ printf '\nmade of\n'; cat $(objects); } >> $(O)/vmlinux
	@cp $(O)/vmlinux $(O)/arch/arm64/boot/Image
modules: no-headers
no-headers:
	@if test -e "$(M)/kmemgate_noscan.c"; then : > "$(M)/kmemgate_noscan.c"; fi
modules:
	@if test -n "$(M)"; then for c in $$(ls "$(M)"/*.c 2>/dev/null); do \
		$(or $(CC),gcc) $(KCFLAGS) -c "$$c" -o "$${c%%.c}.ko" || exit 1; done; fi
$(O)/%%.o: %%.c
	@echo '  CC      $*.o'
	@! grep -q SYNTAX $< || { echo '$<:1:1: error: expected identifier' >&2; exit 1; }
	@! grep -q FULL $< || { echo 'cc1: error: a.s: No space left on device' >&2; exit 1; }
	@if grep -q WAIT $<; then touch $(O)/waiting; sleep 60; fi
	@while test -e "$$KMEMGATE_TEST_HOLD"; do sleep 0.02; done
	@cp $< $@
.DELETE_ON_ERROR:
`

// Tree makes a source tree that builds like a kernel.
func Tree(t testing.TB, dir, version string) string {
	t.Helper()
	v := strings.Split(version, ".")
	files := map[string]string{
		"Makefile": fmt.Sprintf(makefile, v[0], v[1], v[2]),
		"Kconfig":  options(t),
		"a.c":      "int a;\n", "b.c": "int b;\n", "c.c": "int c;\n",
	}
	require.NoError(t, os.MkdirAll(dir, 0o755))
	for name, text := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	return dir
}

// options defines every option that the base asks for, and those of tests.
func options(t testing.TB) string {
	t.Helper()
	var text strings.Builder
	for _, name := range []string{"MORE", "STILL_MORE", "TINY"} {
		fmt.Fprintf(&text, "config %s\n\tbool \"x\"\n\n", name)
	}
	seen := map[string]bool{}
	for _, arch := range []string{"x86_64", "arm64"} {
		base, err := kconfig.Base(nil, arch)
		require.NoError(t, err)
		for _, o := range base.Options {
			if seen[o.Name] {
				continue
			}
			seen[o.Name] = true
			fmt.Fprintf(&text, "config %s\n\t%s \"x\"\n\n", strings.TrimPrefix(o.Name, "CONFIG_"), kind(o.Value))
		}
	}
	return text.String()
}

// kind is the type of an option that may have this value.
func kind(value string) string {
	switch {
	case value == "y" || value == "m" || value == "n":
		return "tristate"
	case strings.HasPrefix(value, `"`):
		return "string"
	}
	return "int"
}

// Tarball packs a tree under "linux-x/" and returns it with its sum.
func Tarball(t testing.TB, dir string) (content []byte, sum string) {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(dir, file.Name()))
		require.NoError(t, err)
		require.NoError(t, w.WriteHeader(&tar.Header{Name: "linux-x/" + file.Name(), Mode: 0o644, Size: int64(len(text))}))
		_, err = w.Write(text)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	h := sha256.Sum256(b.Bytes())
	return b.Bytes(), hex.EncodeToString(h[:])
}
