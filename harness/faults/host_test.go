package faults_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var hostRows = []row{
	{"a compiler that crashes once", compilerCrashes},
	{"the temporary folder on noexec", noexec},
	{"a driver's path with blanks, quotes and UTF-8", oddPath},
	{"an unprivileged user", unprivilegedUser},
	{"LANG=C, C.UTF-8 and de_DE.UTF-8", locales},
	{"a machine without KVM", noKVM},
}

// compilerCrashes has a gcc before the real one that dies at its first module.
func compilerCrashes(t *testing.T) {
	d := newDesk(t, "modules")
	gcc, err := exec.LookPath("gcc")
	require.NoError(t, err)
	d.script(t, "gcc", `case "$*" in *note.o*)
  if mkdir `+d.dir+`/crashed 2> /dev/null; then kill -SEGV $$; fi ;;
esac
exec `+gcc+` "$@"
`)
	d.env = []string{"CCACHE_DISABLE=1"} // which would not ask the compiler
	d.wantNone(t, d.run(t), "build-failed", "the compiler was ended by a signal: run again")
	require.DirExists(t, filepath.Join(d.dir, "crashed"))
	d.wantLeak(t, d.run(t))
}

func noexec(t *testing.T) {
	d := newDesk(t, "modules")
	d.temp = needMount(t, "size=256m", syscall.MS_NOEXEC)
	require.NoError(t, os.WriteFile(filepath.Join(d.temp, "program"), []byte("#!/bin/sh\n"), 0o755))
	require.Error(t, exec.Command(filepath.Join(d.temp, "program")).Run(), "nothing can be run there")
	require.NoError(t, os.Remove(filepath.Join(d.temp, "program")))
	d.wantLeak(t, d.run(t))
}

func oddPath(t *testing.T) {
	d := newDesk(t, "modules")
	d.ownDriver(t, `it's a "größer" driver, $HOME & 驱动`)
	d.out = filepath.Join(d.dir, `out of "ä", $PATH`)
	d.temp = filepath.Join(d.dir, `tmp, "ö"`)
	require.NoError(t, os.Mkdir(d.temp, 0o755))
	got := d.run(t)
	d.wantLeak(t, got)
	assert.Contains(t, got.stdout, "note.c:53")
}

func unprivilegedUser(t *testing.T) {
	d := newDesk(t, "modules", "templates", "controls")
	d.giveAway(t)
	d.wantLeak(t, d.run(t))
}

// locales wants the same report in every language of the environment, and of the
// compiler, tar and QEMU: German is made for the row, where the machine can.
func locales(t *testing.T) {
	d := newDesk(t, "modules")
	made := filepath.Join(d.dir, "locales")
	require.NoError(t, os.Mkdir(made, 0o755))
	if out, err := exec.Command("localedef", "-i", "de_DE", "-f", "UTF-8", filepath.Join(made, "de_DE.UTF-8")).CombinedOutput(); err != nil {
		missing(t, "no German here: localedef: %v: %s (apt-get install locales)", err, out)
	}
	comma := exec.Command("locale", "decimal_point")
	comma.Env = []string{"LC_ALL=de_DE.UTF-8", "LOCPATH=" + made, "PATH=" + os.Getenv("PATH")}
	out, err := comma.Output()
	require.NoError(t, err)
	require.Equal(t, ",\n", string(out), "German is spoken here")
	var first string
	for _, lang := range []string{"C", "C.UTF-8", "de_DE.UTF-8"} {
		require.NoError(t, os.RemoveAll(filepath.Join(d.xdg, "kmemgate", "modules")))
		d.env = []string{"LANG=" + lang, "LC_ALL=" + lang, "LANGUAGE=de", "LOCPATH=" + made}
		got := d.run(t)
		d.wantLeak(t, got)
		if first == "" {
			first = got.stdout
		}
		assert.Equal(t, first, got.stdout, lang)
	}
}

// noKVM runs with the real clock, which would use KVM, where the user may not:
// the device is not there, or is taken away.
func noKVM(t *testing.T) {
	d := newDesk(t)
	if f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0); err == nil {
		f.Close()
		d.hideKVM(t)
	}
	got := d.run(t, "--clock", "real")
	d.wantLeak(t, got)
	assert.Contains(t, got.unwrapped(), "the clock was real: emulated, without KVM: open /dev/kvm: ")
	command, err := filepath.Glob(filepath.Join(d.out, "*", "*", "*", "qemu.cmd"))
	require.NoError(t, err)
	require.Len(t, command, 1)
	text, err := os.ReadFile(command[0])
	require.NoError(t, err)
	assert.Contains(t, string(text), "-accel tcg")
}

// hideKVM gives the desk's programs a /dev of their own, as a container has: with
// all that there is but KVM.
func (d *desk) hideKVM(t *testing.T) {
	t.Helper()
	needRoot(t, "unshare")
	dev := filepath.Join(d.dir, "dev")
	require.NoError(t, os.Mkdir(dev, 0o755))
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty", "ptmx"} {
		require.NoError(t, copyTree("/dev/"+name, filepath.Join(dev, name)))
	}
	require.NoError(t, os.Mkdir(filepath.Join(dev, "pts"), 0o755))
	d.wrap = []string{"unshare", "--mount", "sh", "-c", `mount --bind /dev/pts "$0/pts" && mount --rbind "$0" /dev && exec "$@"`, dev}
}
