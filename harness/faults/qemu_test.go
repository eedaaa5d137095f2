package faults_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

var qemuRows = []row{
	{"QEMU is missing", qemuMissing},
	{"QEMU is too old", qemuTooOld},
	{"QEMU without virtio-serial", qemuWithoutSerial},
	{"QEMU without memory for another clone", qemuWithoutMemory},
	{"QEMU is killed", qemuKilled},
	{"QEMU is killed while making a template", qemuKilledSaving},
	{"QEMU is stopped", qemuStopped},
}

func qemuMissing(t *testing.T) {
	d := newDesk(t)
	d.path, d.only = []string{pathWithout(t, d, "qemu-system-x86_64")}, true
	d.wantNone(t, d.run(t), "qemu-system-x86_64: not found in PATH", "apt-get install qemu-system-x86")
}

// pathWithout is a folder with all programs of PATH but one.
func pathWithout(t *testing.T, d *desk, program string) string {
	t.Helper()
	dir := filepath.Join(d.dir, "path")
	require.NoError(t, os.Mkdir(dir, 0o755))
	for _, from := range filepath.SplitList(os.Getenv("PATH")) {
		list, err := os.ReadDir(from)
		if err != nil {
			continue // PATH may name what is not there
		}
		for _, e := range list {
			if e.Name() != program {
				_ = os.Symlink(filepath.Join(from, e.Name()), filepath.Join(dir, e.Name())) // the first wins
			}
		}
	}
	return dir
}

// qemuTooOld has a double: a script that gives an old version's answer.
func qemuTooOld(t *testing.T) {
	d := newDesk(t)
	d.script(t, "qemu-system-x86_64", "echo 'QEMU emulator version 5.2.0 (Debian 1:5.2+dfsg-11)'\n")
	d.wantNone(t, d.run(t), "version 5.2 is too old", "7.2", "kmemgate doctor")
}

// realQEMU is the program that a script stands before.
func realQEMU(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("qemu-system-x86_64")
	require.NoError(t, err)
	return path
}

// qemuWithoutSerial misspells the device's name on its way to the real QEMU.
func qemuWithoutSerial(t *testing.T) {
	d := newDesk(t, "templates", "controls")
	d.script(t, "qemu-system-x86_64", `for a; do
  shift
  case $a in virtio-serial-pci,*) a=not-$a ;; esac
  set -- "$@" "$a"
done
exec `+realQEMU(t)+` "$@"
`)
	d.wantNone(t, d.run(t), "virtio-serial-pci' is not a valid device model name", "kmemgate doctor")
}

// qemuWithoutMemory lets the real QEMU map too little for a guest's memory.
func qemuWithoutMemory(t *testing.T) {
	d := newDesk(t)
	d.script(t, "qemu-system-x86_64", "case $1 in --version) ;; *) ulimit -v 300000 ;; esac\nexec "+realQEMU(t)+` "$@"`+"\n")
	d.wantNone(t, d.run(t), "Cannot allocate memory", "free some memory")
}

func qemuKilled(t *testing.T) {
	d := newDesk(t)
	d.endless(t)
	r := whileRunning.reach(t, d)
	d.signalQEMU(t, syscall.SIGKILL)
	d.wantNone(t, r.wait(), "qemu-died", "signal: killed", "out of memory")
}

func qemuKilledSaving(t *testing.T) {
	d := newDesk(t, "templates", "controls")
	r := whileSaving.reach(t, d)
	d.signalQEMU(t, syscall.SIGKILL)
	d.wantNone(t, r.wait(), "signal: killed", "out of memory")
	d.wantLeak(t, d.run(t))
}

func qemuStopped(t *testing.T) {
	d := newDesk(t)
	d.endless(t)
	r := whileRunning.reach(t, d)
	d.signalQEMU(t, syscall.SIGSTOP)
	d.wantNone(t, r.wait(), "qemu-died", "QEMU does not answer", "stopped")
}

// endless makes a guest work until it is ended.
func (d *desk) endless(t *testing.T) {
	t.Helper()
	d.ownDriver(t, "endless")
	file := filepath.Join(d.driver, "kmemgate.yml")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	slow := strings.Replace(string(text), "exercise: |\n", "exercise: |\n  while true; do cat /proc/uptime > /dev/null; done\n", 1)
	require.NotEqual(t, string(text), slow)
	require.NoError(t, os.WriteFile(file, []byte(slow), 0o644))
}

// signalQEMU signals every QEMU of the desk.
func (d *desk) signalQEMU(t *testing.T, signal syscall.Signal) {
	t.Helper()
	pids := d.processes(qemu)
	require.NotEmpty(t, pids)
	for _, pid := range pids {
		require.NoError(t, syscall.Kill(pid, signal))
	}
}
