package kernels

import (
	"bytes"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"testing"

	"github.com/kmemgate/kmemgate/kernels/kerneltest"
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

func fakeKernel(t *testing.T, dir, version string) string {
	t.Helper()
	return kerneltest.Tree(t, dir, version)
}

func tarball(t *testing.T, dir string) (content []byte, sum string) {
	t.Helper()
	return kerneltest.Tarball(t, dir)
}
