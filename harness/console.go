package harness

import (
	"bytes"
	"io"
	"os"
	"sync"
)

// consoleMax bounds a guest's console: some 100,000 lines. A driver that
// prints in a loop must not fill the host.
const consoleMax = 8 << 20

// console gathers what the guest's kernel prints.
type console struct {
	in      *os.File
	flooded chan struct{} // closed at consoleMax
	closed  chan struct{} // closed at the end of file

	mu   sync.Mutex
	text []byte
	live io.Writer
}

// readConsole reads until QEMU is gone or the bound is met.
func readConsole(in *os.File) *console {
	c := &console{in: in, flooded: make(chan struct{}), closed: make(chan struct{})}
	go c.run()
	return c
}

func (c *console) run() {
	defer close(c.closed)
	buf := make([]byte, 64<<10)
	for {
		n, err := c.in.Read(buf)
		if n > 0 && !c.take(buf[:n]) {
			close(c.flooded)
			return
		}
		if err != nil {
			return
		}
	}
}

// take keeps a piece, and reports whether there is room for more.
func (c *console) take(b []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	b = b[:min(len(b), consoleMax-len(c.text))]
	c.text = append(c.text, b...)
	if c.live != nil {
		_, _ = c.live.Write(b) // a closed terminal is no reason to lose the run
	}
	return len(c.text) < consoleMax
}

// follow copies what comes from now on to w.
func (c *console) follow(w io.Writer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.live = w
}

// Bytes is what came so far.
func (c *console) Bytes() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Clone(c.text)
}

// wait returns once QEMU's last words were read.
func (c *console) wait() {
	<-c.closed
	c.in.Close()
}

// tail keeps the first bytes written to it up to max: QEMU's own complaints,
// which come before it gives up.
type tail struct {
	max  int
	mu   sync.Mutex
	text []byte
}

// Write never fails: QEMU must not die of its own warnings.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b[:min(len(b), t.max-len(t.text))]...)
	return len(b), nil
}

// Close is what vmtest calls at the end.
func (t *tail) Close() error { return nil }

// Bytes is what came so far.
func (t *tail) Bytes() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return bytes.Clone(t.text)
}

// lastLine is ": LINE" with the last line that came, or nothing.
func (t *tail) lastLine() string {
	text := bytes.TrimSpace(t.Bytes())
	if len(text) == 0 {
		return ""
	}
	return ": " + string(bytes.TrimSpace(text[bytes.LastIndexByte(text, '\n')+1:]))
}
