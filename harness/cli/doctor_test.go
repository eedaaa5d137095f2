package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/kernels"
)

func TestOlder(t *testing.T) {
	for _, tt := range []struct {
		have, want string
		older      bool
	}{
		{"7.2.22", "7.2", false},
		{"7.1.9", "7.2", true},
		{"10.0", "7.2", false}, // numbers, not text
		{"7", "7.2", true},
		{"version unknown", "7.2", true},
	} {
		assert.Equal(t, tt.older, older(tt.have, tt.want), "%s against %s", tt.have, tt.want)
	}
}

// Without a single program, doctor names the command for each, as this
// distribution has it: testdata/doctor/DISTRIBUTION.txt, rewritten by -update.
func TestDoctorOnABareMachine(t *testing.T) {
	if hostArch() != "x86_64" {
		t.Skip("the files are of an x86_64 machine")
	}
	t.Setenv("PATH", t.TempDir())
	for _, distro := range []string{"debian", "ubuntu", "fedora", "arch"} {
		t.Run(distro, func(t *testing.T) {
			checks := append(checkTools(distro), checkHeaders(distro, t.TempDir())...)
			var got bytes.Buffer
			require.NoError(t, printChecks(&got, checks, false))
			text := strings.ReplaceAll(got.String(), "sudo ", "") // root needs none
			path := filepath.Join("testdata/doctor", distro+".txt")
			if *update {
				require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
			}
			want, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, string(want), text)
			for _, c := range checks {
				require.NotEqual(t, "ok", c.Status, c.Name)
				require.NotEmpty(t, c.Cure, c.Name)
			}
		})
	}
}

var update = flag.Bool("update", false, "rewrite testdata/doctor")

// On Debian the commands are no guess: apt knows each package.
func TestDebianHasThePackages(t *testing.T) {
	if kernels.Distribution("/etc/os-release") != "debian" {
		t.Skip("no Debian")
	}
	var programs []string
	for _, tool := range tools() {
		if tool.program != "go" {
			programs = append(programs, tool.program)
		}
	}
	_, names, _ := strings.Cut(kernels.InstallCommand("debian", append(programs, "libelf.h", "openssl/opensslv.h")...), " install ")
	out, err := exec.Command("apt-cache", "pkgnames").Output()
	require.NoError(t, err)
	known := "\n" + string(out)
	if !strings.Contains(known, "\nflex\n") {
		t.Skip("no package lists: apt-get update")
	}
	for _, name := range strings.Fields(names) {
		require.Contains(t, known, "\n"+name+"\n")
	}
}

// The other architecture's compiler and QEMU are of one kind.
func TestOtherArchitectureIsOptional(t *testing.T) {
	optional := map[string]bool{}
	for _, tool := range tools() {
		optional[tool.program] = tool.optional
	}
	own, other := hostArch(), "arm64"
	if own == other {
		other = "x86_64"
	}
	require.False(t, optional[qemuOf[own]])
	require.True(t, optional[qemuOf[other]])
	for _, program := range kernels.Tools(own, false) {
		require.False(t, optional[program], program)
	}
	for _, program := range kernels.Tools(other, false)[8:] {
		require.True(t, optional[program], program)
	}
}

func TestDoctorJSON(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("PATH", t.TempDir())
	t.Setenv("https_proxy", "http://127.0.0.1:1")
	var stdout, stderr bytes.Buffer
	require.Equal(t, exitNone, Main([]string{"doctor", "--json"}, nil, &stdout, &stderr))
	var checks []Check
	require.NoError(t, json.Unmarshal(stdout.Bytes(), &checks))
	lacks := count(checks, "lack")
	require.Equal(t, fmt.Sprintf("kmemgate: doctor: this machine lacks %d of what a run needs\n", lacks), stderr.String())
	status := map[string]string{}
	for _, c := range checks {
		status[c.Name] = c.Status
		require.Contains(t, []string{"ok", "lack", "note"}, c.Status)
	}
	require.Equal(t, "lack", status["gcc"])
	require.Equal(t, "note", status["ccache"])
	require.Equal(t, "note", status["Debian's mirror"], "no apt")
	require.Equal(t, "ok", status["cache"])
}

func TestDoctorWithoutTerminals(t *testing.T) {
	require.Equal(t, Check{Name: "/dev/ptmx", Status: "ok", Found: "works"}, checkTerminals("/dev/ptmx"))
	file := filepath.Join(t.TempDir(), "ptmx")
	require.Equal(t, Check{
		Name: file, Status: "lack", Found: "open " + file + ": no such file or directory: guests' consoles are pseudo terminals",
		Cure: "sudo mount -t devpts devpts /dev/pts",
	}, checkTerminals(file))
}

func TestDoctorFindsDamage(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	var cache kernels.Cache
	dir, release, err := cache.Entry(t.Context(), kernels.KindModules, "k", func(_ context.Context, dir string) error {
		return os.WriteFile(filepath.Join(dir, "x.ko"), []byte("whole"), 0o644)
	})
	require.NoError(t, err)
	release()
	require.Equal(t, []Check{{Name: "cache", Status: "ok", Found: "1 entries"}}, checkCache())
	require.NoError(t, os.Truncate(filepath.Join(dir, "x.ko"), 2))
	checks := checkCache()
	require.Len(t, checks, 2)
	require.Equal(t, "note", checks[1].Status)
	require.Contains(t, checks[1].Found, "damaged: x.ko has 2 bytes, not 5")
}

func TestKVMThatDoesNotWork(t *testing.T) {
	for _, tt := range []struct {
		lack         error
		status, said string
	}{
		{nil, "ok", "works"},
		{&fs.PathError{Op: "open", Path: "/dev/kvm", Err: syscall.ENOENT}, "note", "modprobe kvm"},
		{&fs.PathError{Op: "open", Path: "/dev/kvm", Err: syscall.EACCES}, "note", "usermod"},
		{errors.New("QEMU with it: signal: aborted"), "note", "signal: aborted"},
	} {
		c := checkKVM(tt.lack)
		require.Equal(t, tt.status, c.Status)
		require.Contains(t, c.Found+c.Cure, tt.said)
	}
}

// A QEMU that was built without what every guest has would fail in each run.
func TestQEMUWithoutItsDevicesIsALack(t *testing.T) {
	bin := t.TempDir()
	script := "#!/bin/sh\nif [ \"$1\" = --version ]; then echo QEMU emulator version 9.0.0; else echo 'name \"virtio-serial-pci\", bus PCI'; fi\n"
	require.NoError(t, os.WriteFile(filepath.Join(bin, "qemu-system-x86_64"), []byte(script), 0o755))
	t.Setenv("PATH", bin+":/bin")
	c := tool{program: "qemu-system-x86_64", version: "--version", oldest: "7.2"}.check("debian")
	require.Equal(t, "lack", c.Status)
	require.Contains(t, c.Found, "built without virtserialport, ivshmem-plain")
	require.Contains(t, c.Cure, "apt-get install qemu-system-x86")
}

func TestOldToolIsALack(t *testing.T) {
	bin := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(bin, "qemu"), []byte("#!/bin/sh\necho QEMU emulator version 6.0.1\n"), 0o755))
	t.Setenv("PATH", bin+":/bin")
	c := tool{program: "qemu", version: "--version", oldest: "7.2"}.check("debian")
	assert.Equal(t, "lack", c.Status)
	assert.Equal(t, "6.0.1: too old, want 7.2", c.Found)
}
