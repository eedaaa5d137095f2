package cli

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/kernels"
)

// badInputs is what the arguments, the files or the machine have wrong: the exit
// status, and what the one line says of it, the cure included. What it takes a
// guest to see is in badDrivers.
var badInputs = []struct {
	name, args string
	without    string // this program is missing
	status     int
	said       []string
}{
	{"unknown flag", "run --no-such-flag driver", "", 2, []string{"unknown flag: --no-such-flag", "kmemgate run --help lists the flags"}},
	{"unknown kernel name", "run --kernel six driver", "", 2, []string{`kernel "six": no version`, "it takes a series (6.12)"}},
	{"no such suite", "kernel build debian:sid", "", 2, []string{`kernel "debian:sid"`, "as in debian:6.12"}},
	{"no Makefile", "run empty", "", 2, []string{"no dkms.conf, no Kbuild and no Makefile"}},
	{"broken dkms.conf, before a kernel", "run broken", "", 2, []string{"broken: dkms.conf: exits before its end"}},
	{"no network", "kernel build 6.12", "", 3, []string{"host: kernel 6.12: not in the cache, nor to be had", "connect this machine to the network, or name a source directory"}},
	{"no network, by URL", "kernel build http://127.0.0.1:1/linux.tar.xz#sha256=" + zeros, "", 3, []string{"host: fetch http://127.0.0.1:1/linux.tar.xz: ", "connect this machine to the network"}},
	{"URL without its sum", "kernel build SITE/linux.tar.xz", "", 2, []string{"no #sha256= with 64 hexadecimal digits", "the form is https://"}},
	{"wrong sha256", "kernel build SITE/linux.tar.xz#sha256=" + zeros, "", 3, []string{"its sha256 is ", ", not " + zeros, "correct the sum if it is mistyped"}},
	{"no such file", "kernel build SITE/nothing.tar.xz#sha256=" + zeros, "", 3, []string{"the server says 404 Not Found", "correct the address"}},
	{"no compiler", "kernel build 6.12", "gcc", 3, []string{"host: gcc: not found", "install"}},
	{"no cross compiler", "kernel build 6.12/arm64", "aarch64-linux-gnu-gcc", 3, []string{"host: aarch64-linux-gnu-gcc: not found", "gcc-aarch64-linux-gnu"}},
	{"no flex", "kernel build 6.12", "flex", 3, []string{"host: flex: not found", "install", "flex"}},
}

var zeros = strings.Repeat("0", 64)

func TestBadInput(t *testing.T) {
	needTools(t)
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/linux.tar.xz" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write([]byte("<html>Not here</html>\n"))
	}))
	defer site.Close()
	for _, bad := range badInputs {
		t.Run(bad.name, func(t *testing.T) {
			if bad.name == "no cross compiler" && hostArch() != "x86_64" {
				t.Skip("arm64 is at home here")
			}
			dir := t.TempDir()
			require.NoError(t, os.MkdirAll(filepath.Join(dir, "empty"), 0o755))
			require.NoError(t, os.MkdirAll(filepath.Join(dir, "driver"), 0o755))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "driver", "Makefile"), []byte("obj-m := good.o\n"), 0o644))
			require.NoError(t, os.MkdirAll(filepath.Join(dir, "broken"), 0o755))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "broken", "dkms.conf"), []byte(dkmsConf("exit 0\n")), 0o644))
			c := kmemgate(t, dir, strings.Fields(strings.ReplaceAll(bad.args, "SITE", site.URL))...)
			c.Env = append(c.Env, "PATH="+pathFor(t, bad.without))
			status, stderr := runCommand(t, c)
			require.Equal(t, bad.status, status, stderr)
			lines := strings.Split(strings.TrimSuffix(stderr, "\n"), "\n")
			last := lines[len(lines)-1]
			for _, want := range bad.said {
				require.Contains(t, last, want)
			}
			require.Equal(t, 1, strings.Count(stderr, "kmemgate: "), "one line: %s", stderr)
			requireWholeCache(t, dir)
		})
	}
}

// kmemgate is the command as a process of its own: Go reads the proxy's variables
// once. The proxy hangs up, so nothing outside of this machine is reached.
func kmemgate(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	c := exec.CommandContext(t.Context(), self)
	c.Args, c.Dir = append([]string{"kmemgate"}, args...), dir // TestMain goes by the name
	c.Env = append(os.Environ(), "XDG_CACHE_HOME="+filepath.Join(dir, "cache"), "https_proxy=http://127.0.0.1:1", "HTTPS_PROXY=http://127.0.0.1:1")
	return c
}

func runCommand(t *testing.T, c *exec.Cmd) (status int, stderr string) {
	t.Helper()
	var said strings.Builder
	c.Stderr = &said
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	return c.ProcessState.ExitCode(), said.String()
}

// pathFor is a folder with what builds need for either architecture, as far as
// this machine has it, but for one program.
func pathFor(t *testing.T, without string) string {
	t.Helper()
	bin := t.TempDir()
	for _, tool := range append(kernels.Tools("x86_64", false), kernels.Tools("arm64", false)...) {
		if path, err := exec.LookPath(tool); err == nil && tool != without {
			_ = os.Symlink(path, filepath.Join(bin, tool)) // some are named twice
		}
	}
	return bin
}

// requireWholeCache wants no entry, whole or half, of a build that never began.
func requireWholeCache(t *testing.T, dir string) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(dir, "cache/kmemgate/*/*"))
	require.NoError(t, err)
	for _, path := range left {
		if filepath.Base(filepath.Dir(path)) != "runs" { // the evidence, not the cache
			require.Equal(t, ".lock", filepath.Ext(path), "left behind: %s", path)
		}
	}
}
