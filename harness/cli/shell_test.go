package cli

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A driver that is not for this architecture has no guest to give a prompt in.
func TestShellOfADriverThatDoesNotApply(t *testing.T) {
	needGuest(t)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "dkms.conf"), []byte(dkmsConf("BUILD_EXCLUSIVE_ARCH=s390x\n")), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "good.c"), []byte(goodModule), 0o644))
	var stdout, stderr bytes.Buffer
	status := Main([]string{"shell", dir}, nil, &stdout, &stderr)
	require.Equal(t, exitNone, status)
	require.Contains(t, stderr.String(), "kmemgate: skipped: BUILD_EXCLUSIVE_ARCH=\"s390x\", and this is")
	require.Empty(t, stdout.String())
}

// typist types a line when the prompt shows up, once.
type typist struct {
	mu    sync.Mutex
	shown bytes.Buffer
	keys  *io.PipeWriter
	line  string
}

func (p *typist) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shown.Write(b)
	if p.line != "" && bytes.HasSuffix(p.shown.Bytes(), []byte("\n$ ")) {
		go io.WriteString(p.keys, p.line) //nolint:errcheck // a guest that is gone takes no keys
		p.line = ""
	}
	return len(b), nil
}

func shellDriver(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "Makefile"), []byte("obj-m := good.o\n"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "good.c"), []byte(goodModule), 0o644))
	return dir
}

func TestShell(t *testing.T) {
	needGuest(t)
	keyboard, keys := io.Pipe()
	defer keys.Close()
	screen := &typist{keys: keys, line: "ls modules; insmod modules/good.ko; cat /proc/modules; exit\n"}
	var stderr bytes.Buffer
	status := Main([]string{"shell", shellDriver(t)}, keyboard, screen, &stderr)
	require.Equal(t, exitClean, status, "%s\n%s", &screen.shown, &stderr)
	require.Contains(t, screen.shown.String(), "  insmod /job/modules/good.ko")
	require.Contains(t, screen.shown.String(), "\ngood.ko\r\n", "nothing is loaded yet, all is at hand")
	require.Regexp(t, `\ngood \d+ 0 - Live 0x[0-9a-f]{16} \(O\)`, screen.shown.String())
}

// With --gdb the guest stands still until a debugger that comes to the printed
// socket lets it run.
func TestShellWaitsForADebugger(t *testing.T) {
	needGuest(t)
	keyboard, keys := io.Pipe()
	defer keys.Close()
	screen := &typist{keys: keys, line: "exit\n"}
	said, stderr := io.Pipe()
	over := make(chan int, 1)
	go func() {
		over <- Main([]string{"shell", shellDriver(t), "--gdb"}, keyboard, screen, stderr)
		stderr.Close()
	}()
	line := regexp.MustCompile(`the guest waits for: gdb .*vmlinux.* -ex 'target remote (/[^']+)'(?s:.*)add-symbol-file .*good\.ko ADDRESS`)
	var text strings.Builder
	var socket string
	for buf := make([]byte, 4096); socket == ""; {
		n, err := said.Read(buf)
		text.Write(buf[:n])
		require.NoError(t, err, "%s", &text)
		if m := line.FindStringSubmatch(text.String()); m != nil {
			socket = m[1]
		}
	}
	go io.Copy(io.Discard, said) //nolint:errcheck // the rest is of no interest
	gdb, err := net.Dial("unix", socket)
	require.NoError(t, err)
	defer gdb.Close()
	require.NoError(t, gdb.SetDeadline(time.Now().Add(5*time.Minute)))
	_, err = io.WriteString(gdb, "$?#3f")
	require.NoError(t, err)
	reply := make([]byte, 64)
	n, err := io.ReadAtLeast(gdb, reply, len("+$T05"))
	require.NoError(t, err)
	require.Regexp(t, `^\+\$[ST]05`, string(reply[:n]), "it stands still")
	require.Empty(t, over)
	_, err = io.WriteString(gdb, "+$c#63")
	require.NoError(t, err)
	go io.Copy(io.Discard, gdb) //nolint:errcheck // the stops to come are of no interest
	require.Equal(t, exitClean, <-over, "%s", &screen.shown)
}
