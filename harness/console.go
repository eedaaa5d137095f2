package harness

import (
	"bytes"
	"io"
	"os"
	"sync"
	"syscall"
)

// defaultConsole bounds a guest's console: some 50,000 lines. A driver that
// prints in a loop must not fill the host.
const defaultConsole = 4 << 20

// console gathers what the guest's kernel prints.
type console struct {
	in      *os.File
	max     int
	flooded chan struct{} // closed at max
	closed  chan struct{} // closed at the end of file

	mu   sync.Mutex
	text []byte
	live io.Writer
	// session: a person is at the console, so that only the first max
	// bytes are kept, but none is the last.
	session bool
}

// readConsole reads until QEMU is gone or the bound is met.
func readConsole(in *os.File, max int) *console {
	c := &console{in: in, max: max, flooded: make(chan struct{}), closed: make(chan struct{})}
	go c.run()
	return c
}

func (c *console) run() {
	defer close(c.closed)
	buf := make([]byte, 64<<10)
	for {
		n, err := c.in.Read(buf)
		if n > 0 && !c.take(buf[:n]) && !c.endless() {
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
	if c.live != nil {
		_, _ = c.live.Write(b) // a closed terminal is no reason to lose the run
	}
	c.text = append(c.text, b[:min(len(b), c.max-len(c.text))]...)
	return len(c.text) < c.max
}

// endless tells a session of a person, who sees what the guest prints, from a
// run that must end.
func (c *console) endless() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session
}

// follow copies what comes from now on to w.
func (c *console) follow(w io.Writer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.live = w
}

// typed hands to the guest what a person types, until there is no more.
func (c *console) typed(fifo string, keys io.Reader) {
	c.mu.Lock()
	c.session = true
	c.mu.Unlock()
	in, err := os.OpenFile(fifo, os.O_WRONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return // the guest is gone already
	}
	defer in.Close()
	_, _ = io.Copy(in, keys) // ends with either side
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

// firstLine is ": LINE" with the first line that came, or nothing.
func (t *tail) firstLine() string {
	line, _, _ := bytes.Cut(bytes.TrimSpace(t.Bytes()), []byte("\n"))
	if len(line) == 0 {
		return ""
	}
	return ": " + string(line)
}
