package harness_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/harness"
	"github.com/kmemgate/kmemgate/kernels"
	"github.com/kmemgate/kmemgate/reports"
	"github.com/kmemgate/kmemgate/scenarios"
)

// realDriver is one of Debian's -dkms packages: a driver that was not written
// for this test. It must pass as it is, and with one free taken out it must
// turn red at the line that allocates.
type realDriver struct {
	pkg      string
	exercise string
	file     string // that is edited
	before   string // text right before the free, which names the one that is meant
	free     string // the line that is taken out
	function string // the text after which the allocation stands
	alloc    string // the line that must be named
}

var realDrivers = []realDriver{
	{
		pkg: "vpoll-dkms", exercise: "true < /dev/vpoll\n",
		file: "vpoll.c", before: "vpoll_data = file->private_data;\n\n", free: "\tkfree(vpoll_data);\n",
		function: "static int vpoll_open(", alloc: "vpoll_data = kmalloc(",
	},
	{
		pkg: "rapiddisk-dkms",
		exercise: `echo rapiddisk attach 0 1048576 > /sys/kernel/rapiddisk/mgmt
dd if=/dev/zero of=/dev/rd0 bs=4096 count=8
echo rapiddisk detach 0 > /sys/kernel/rapiddisk/mgmt
`,
		file: "rapiddisk.c", before: "rdsk_free_pages(rdsk);\n", free: "\tkfree(rdsk);\n",
		function: "static int attach_device(", alloc: "rdsk = kzalloc(",
	},
	{
		pkg: "gost-crypto-dkms", exercise: "cat /proc/crypto\n",
		file: "testmgr.c", before: "out_nobuf:\n", free: "\tkfree(key);\n",
		function: "static int __test_hash(", alloc: "key = kmalloc(",
	},
	{
		pkg: "v4l2loopback-dkms", exercise: "cat /sys/class/video4linux/video0/name\ntrue < /dev/video0\n",
		file: "v4l2loopback.c", before: "v4l2_fh_exit(&opener->fh);\n\n", free: "\tkfree(opener);\n",
		function: "static int v4l2_loopback_open(", alloc: "opener = kzalloc(",
	},
}

// suites are the releases of Debian whose drivers are written for a kernel.
var suites = map[string]string{"6.1": "bookworm", "6.12": "trixie"}

// TestDrivers fetches real drivers and gates them. Nothing is said of the
// options that their kernels need. KMEMGATE_PAIRS ("6.12/x86_64 6.1/arm64")
// says where. With an empty cache each driver costs a kernel, so nothing is run
// without it: see `make drivers`.
func TestDrivers(t *testing.T) {
	pairs := strings.Fields(os.Getenv("KMEMGATE_PAIRS"))
	if testing.Short() || len(pairs) == 0 {
		t.Skip("builds kernels: make drivers")
	}
	gate := &harness.Gate{
		Builder: &kernels.Builder{Log: t.Output()}, Host: &harness.Host{Log: t.Logf},
		Out: t.ArtifactDir(), Status: t.Logf,
	}
	t.Cleanup(gate.Close)
	for _, pair := range pairs {
		kernel, arch, _ := strings.Cut(pair, "/")
		require.NotEmpty(t, suites[kernel], "no release of Debian is known for kernel %s", kernel)
		t.Run(pair, func(t *testing.T) {
			needQEMU(t, arch)
			sources := fetch(t, suites[kernel])
			for _, d := range realDrivers {
				t.Run(d.pkg, func(t *testing.T) {
					t.Run("as it is", func(t *testing.T) {
						run := gateIt(t, gate, d, sources[d.pkg], kernel, arch)
						require.Equal(t, reports.Clean, run.Verdict, "%s %s %s", run.Reason, run.Detail, titles(run))
						require.Positive(t, run.Stats.Loads)
						if kernel != "6.1" { // which cannot count what a module allocates
							require.Positive(t, run.Stats.Tracked)
						}
					})
					t.Run("without a free", func(t *testing.T) {
						dir, line := d.withoutFree(t, sources[d.pkg])
						run := gateIt(t, gate, d, dir, kernel, arch)
						require.Equal(t, reports.Leaks, run.Verdict, "%s %s", run.Reason, run.Detail)
						require.Equal(t, []string{fmt.Sprintf("%s:%d", d.file, line)}, titles(run))
					})
				})
			}
		})
	}
}

func gateIt(t *testing.T, gate *harness.Gate, d realDriver, dir, kernel, arch string) reports.Run {
	t.Helper()
	s, err := scenarios.Load(dir)
	require.NoError(t, err)
	s.Exercise = d.exercise
	run, err := gate.One(t.Context(), s, kernel, arch)
	require.NoError(t, err)
	return run
}

// titles are the places of the new leaks.
func titles(run reports.Run) []string {
	var all []string
	for _, l := range run.Leaks {
		if l.Status == reports.New {
			all = append(all, fmt.Sprintf("%s:%d", l.File, l.Line))
		}
	}
	return all
}

// withoutFree copies the driver without one free, and returns the number of the
// line whose memory leaks then.
func (d realDriver) withoutFree(t *testing.T, source string) (dir string, line int) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), filepath.Base(source))
	require.NoError(t, os.CopyFS(dir, os.DirFS(source)))
	file := filepath.Join(dir, d.file)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(text), d.before+d.free), "%s has no such free, or several", d.file)
	broken := strings.Replace(string(text), d.before+d.free, d.before, 1)
	require.NoError(t, os.WriteFile(file, []byte(broken), 0o644))
	start := strings.Index(broken, d.function)
	require.Positive(t, start, "%s: no %s", d.file, d.function)
	at := strings.Index(broken[start:], d.alloc)
	require.Positive(t, at, "%s: no %s after %s", d.file, d.alloc, d.function)
	return dir, 1 + strings.Count(broken[:start+at], "\n")
}

func needQEMU(t *testing.T, arch string) {
	t.Helper()
	for _, program := range []string{map[string]string{"x86_64": "qemu-system-x86_64", "arm64": "qemu-system-aarch64"}[arch], "apt-get", "dpkg-deb"} {
		if _, err := exec.LookPath(program); err != nil {
			missing(t, "%s: not found", program)
		}
	}
}

// missing skips on a desk and fails in CI.
func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// fetch gets the packages of a release of Debian from the mirror that this
// machine uses, and returns the folders of their sources.
func fetch(t *testing.T, suite string) map[string]string {
	t.Helper()
	dir := t.TempDir()
	for _, sub := range []string{"lists/partial", "cache/archives/partial"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, sub), 0o755))
	}
	mirror, err := exec.Command("sh", "-c", `apt-get indextargets --format '$(SITE)' 'Origin: Debian' 'Label: Debian' | head -n 1`).Output()
	if err != nil || len(mirror) == 0 {
		missing(t, "apt knows no mirror of Debian (%v): apt-get update", err)
	}
	list := fmt.Sprintf("deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n", strings.TrimSpace(string(mirror)), suite)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "sources.list"), []byte(list), 0o644))
	apt := func(args ...string) {
		cmd := exec.Command("apt-get", append([]string{
			"-q", "-o", "APT::Sandbox::User=", "-o", "APT::Update::Error-Mode=any", "-o", "Acquire::Languages=none",
			"-o", "Dir::Etc::SourceList=" + filepath.Join(dir, "sources.list"), "-o", "Dir::Etc::SourceParts=/dev/null",
			"-o", "Dir::State::Lists=" + filepath.Join(dir, "lists"), "-o", "Dir::Cache=" + filepath.Join(dir, "cache"),
		}, args...)...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			missing(t, "apt-get %s: %v\n%s", args[0], err, out)
		}
	}
	apt("update")
	sources := map[string]string{}
	for _, d := range realDrivers {
		apt("download", d.pkg)
		deb, err := filepath.Glob(filepath.Join(dir, d.pkg+"_*.deb"))
		require.NoError(t, err)
		require.Len(t, deb, 1)
		tree := filepath.Join(dir, d.pkg)
		out, err := exec.Command("dpkg-deb", "-x", deb[0], tree).CombinedOutput()
		require.NoError(t, err, string(out))
		source, err := filepath.Glob(filepath.Join(tree, "usr/src/*"))
		require.NoError(t, err)
		require.Len(t, source, 1, "%s brings one source", d.pkg)
		sources[d.pkg] = source[0]
	}
	return sources
}
