package kernels

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/kconfig"
)

// logBuffer is a Builder's Log that a test can read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func testBuilder(t *testing.T) (*Builder, *logBuffer) {
	log := &logBuffer{}
	b := &Builder{Cache: &Cache{Dir: t.TempDir(), Limit: -1, Log: log}, Log: log}
	t.Cleanup(b.Close)
	return b, log
}

// hostArch is the architecture that needs no cross compiler here.
func hostArch(t *testing.T) string {
	for name, facts := range archs {
		if facts.goarch == runtime.GOARCH {
			return name
		}
	}
	t.Skipf("no architecture for %s", runtime.GOARCH)
	return ""
}

// needTools skips on a desk without the kernel's build tools, never in CI.
func needTools(t *testing.T) {
	for _, tool := range Tools(hostArch(t), false) {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%s: not found: %s", tool, CureOf(tool))
			}
			t.Skipf("%s: not found", tool)
		}
	}
}

// fakeMakefile plays the kernel's: the same targets and variables, three
// objects of which the second waits for a file where the test wants it to.
const fakeMakefile = `VERSION = %s
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
	@cat $(objects) > $(O)/vmlinux
	@cp $(O)/vmlinux $(O)/arch/arm64/boot/Image
modules:
	@if test -n "$(M)"; then for c in $$(ls "$(M)"/*.c 2>/dev/null); do \
		$(or $(CC),gcc) $(KCFLAGS) -c "$$c" -o "$${c%%.c}.ko" || exit 1; done; fi
$(O)/%%.o: %%.c
	@echo '  CC      $*.o'
	@! grep -q SYNTAX $< || { echo '$<:1:1: error: expected identifier' >&2; exit 1; }
	@! grep -q FULL $< || { echo 'cc1: error: a.s: No space left on device' >&2; exit 1; }
	@if grep -q WAIT $<; then touch $(O)/waiting; sleep 60; fi
	@cp $< $@
.DELETE_ON_ERROR:
`

// fakeKernel is a source tree of a few files that builds like a kernel.
func fakeKernel(t *testing.T, dir, version string) string {
	t.Helper()
	v := strings.Split(version, ".")
	files := map[string]string{
		"Makefile": fmt.Sprintf(fakeMakefile, v[0], v[1], v[2]),
		"Kconfig":  fakeKconfig(t),
		"a.c":      "int a;\n", "b.c": "int b;\n", "c.c": "int c;\n",
	}
	for name, text := range files {
		require.NoError(t, os.MkdirAll(dir, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	return dir
}

// fakeKconfig defines every option that the base asks for, and those of tests.
func fakeKconfig(t *testing.T) string {
	t.Helper()
	var text strings.Builder
	for _, name := range []string{"MORE", "STILL_MORE", "TINY"} {
		fmt.Fprintf(&text, "config %s\n\tbool \"x\"\n\n", name)
	}
	seen := map[string]bool{}
	for _, arch := range Arches() {
		base, err := kconfig.Base(nil, arch)
		require.NoError(t, err)
		for _, o := range base.Options {
			if seen[o.Name] {
				continue
			}
			seen[o.Name] = true
			kind := "tristate"
			if o.Value != "y" && o.Value != "m" && o.Value != "n" {
				kind = "int"
				if strings.HasPrefix(o.Value, `"`) {
					kind = "string"
				}
			}
			fmt.Fprintf(&text, "config %s\n\t%s \"x\"\n\n", strings.TrimPrefix(o.Name, "CONFIG_"), kind)
		}
	}
	return text.String()
}

// tarball packs a directory under "linux-x/" and returns it with its sum.
func tarball(t *testing.T, dir string) (content []byte, sum string) {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	files, err := walkedFiles(dir)
	require.NoError(t, err)
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join(dir, file))
		require.NoError(t, err)
		require.NoError(t, w.WriteHeader(&tar.Header{Name: "linux-x/" + file, Mode: 0o644, Size: int64(len(text))}))
		_, err = w.Write(text)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	h := sha256.Sum256(b.Bytes())
	return b.Bytes(), hex.EncodeToString(h[:])
}
