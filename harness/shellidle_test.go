package harness

import (
	"bytes"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/scenarios"
)

// prompt tells when the guest's shell waits for a line.
type prompt struct {
	mu    sync.Mutex
	text  bytes.Buffer
	shown chan struct{}
}

func (p *prompt) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := bytes.Contains(p.text.Bytes(), []byte("\n$ "))
	p.text.Write(b)
	if !before && bytes.Contains(p.text.Bytes(), []byte("\n$ ")) {
		close(p.shown)
	}
	return len(b), nil
}

// TestShellIdles leaves a guest at its prompt: QEMU then takes next to no
// processor time. One whose clock was warped would race it forward, on more than
// a core. A busy machine makes what is measured smaller, never larger.
func TestShellIdles(t *testing.T) {
	gateKernel(t)
	gate := testGate(t)
	s, err := scenarios.Load("../scenarios/clean")
	require.NoError(t, err)
	s.Kernels, s.Arches = []string{"6.12"}, []string{"x86_64"}
	keyboard, keys := io.Pipe()
	screen := &prompt{shown: make(chan struct{})}
	over := make(chan error, 1)
	go func() { over <- gate.Shell(t.Context(), s, ShellOptions{In: keyboard, Out: screen}) }()
	select {
	case <-screen.shown:
	case err := <-over:
		require.FailNow(t, "no prompt", "%v", err)
	}
	time.Sleep(time.Second) // the prompt's own work
	const watched = 5 * time.Second
	before, begin := processorTime(t, gate.Host.Temp), time.Now()
	time.Sleep(watched)
	share := (processorTime(t, gate.Host.Temp) - before).Seconds() / time.Since(begin).Seconds()
	t.Logf("a guest at its prompt takes %.3f of a core", share)
	assert.Less(t, share, 0.1)
	_, err = keys.Write([]byte("exit\n"))
	require.NoError(t, err)
	require.NoError(t, <-over)
	assertNothingLeft(t, gate.Host.Temp)
}

// processorTime is what the one QEMU below dir has had, proc_pid_stat(5): fields
// 14 and 15, in hundredths of a second.
func processorTime(t *testing.T, dir string) time.Duration {
	t.Helper()
	pids := qemusIn(t, dir)
	require.Len(t, pids, 1)
	text, err := os.ReadFile("/proc/" + pids[0] + "/stat")
	require.NoError(t, err)
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:])) // from field 3 on
	var ticks int
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		require.NoError(t, err)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
