package harness

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	// qmpMaxLine bounds one line from QEMU. query-pci of a crowded bus is
	// some 20 KB; the flat view of its memory some 60 KB.
	qmpMaxLine = 4 << 20
	// qmpTimeout bounds the wait for one reply. QEMU answers within
	// milliseconds; a starved host may make it wait for seconds.
	qmpTimeout = 30 * time.Second
	// qmpEvents bounds the events kept for a reader that is busy.
	qmpEvents = 256
)

// errQMPClosed is what commands meet after QEMU is gone.
var errQMPClosed = errors.New("QEMU closed its control socket")

// errNoReply is what commands meet while QEMU does not answer.
var errNoReply = fmt.Errorf("no reply within %v", qmpTimeout)

// qmpError is an error that QEMU itself reported.
// Example: {"error": {"class": "GenericError", "desc": "Device 'x' not found"}}
type qmpError struct {
	Class string `json:"class"`
	Desc  string `json:"desc"`
}

func (e *qmpError) Error() string { return e.Desc }

// qmpEvent is something that befell the VM.
// Example: {"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}, …}
type qmpEvent struct {
	Name string          `json:"event"`
	Data json.RawMessage `json:"data"`
}

// reason is the "reason" of a SHUTDOWN event.
func (e qmpEvent) reason() string {
	var d struct {
		Reason string `json:"reason"`
	}
	if json.Unmarshal(e.Data, &d) != nil {
		return ""
	}
	return d.Reason
}

// portClosed tells of a VSERPORT_CHANGE event (qapi/char.json) whether the guest
// has closed its port. There is one.
func (e qmpEvent) portClosed() bool {
	var d struct {
		Open bool `json:"open"`
	}
	return e.Name == "VSERPORT_CHANGE" && json.Unmarshal(e.Data, &d) == nil && !d.Open
}

// qmpReply is any line from QEMU after the greeting.
type qmpReply struct {
	ID     uint64          `json:"id"`
	Return json.RawMessage `json:"return"`
	Error  *qmpError       `json:"error"`
	qmpEvent
}

// qmpClient speaks the QEMU Machine Protocol over one Unix socket. Commands
// may come from several goroutines: replies are matched by id.
//
// The protocol: https://www.qemu.org/docs/master/interop/qmp-spec.html
type qmpClient struct {
	conn *net.UnixConn

	// Events is closed when QEMU is gone.
	Events chan qmpEvent

	mu      sync.Mutex
	nextID  uint64
	waiting map[uint64]chan qmpReply
	err     error // why no command can be sent any more
}

// newQMP takes the greeting, agrees on capabilities and starts to listen.
func newQMP(ctx context.Context, conn *net.UnixConn) (*qmpClient, error) {
	c := &qmpClient{conn: conn, Events: make(chan qmpEvent, qmpEvents), waiting: map[uint64]chan qmpReply{}}
	lines := bufio.NewReaderSize(conn, 64<<10)
	if err := c.greet(ctx, lines); err != nil {
		conn.Close()
		return nil, fmt.Errorf("qmp greeting: %w", err)
	}
	go c.listen(lines)
	if err := c.Do(ctx, "qmp_capabilities", nil, nil); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// greet reads the greeting: {"QMP": {"version": {…}, "capabilities": ["oob"]}}
func (c *qmpClient) greet(ctx context.Context, lines *bufio.Reader) error {
	deadline := time.Now().Add(qmpTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	stop := context.AfterFunc(ctx, func() { c.conn.SetReadDeadline(time.Now()) })
	defer stop()
	c.conn.SetReadDeadline(deadline)
	line, err := readLine(lines)
	if err != nil {
		return errors.Join(err, ctx.Err())
	}
	var greeting struct {
		QMP *json.RawMessage `json:"QMP"`
	}
	if err := json.Unmarshal(line, &greeting); err != nil || greeting.QMP == nil {
		return fmt.Errorf("%.80q is none", line)
	}
	return c.conn.SetReadDeadline(time.Time{})
}

// readLine reads one line of at most qmpMaxLine bytes.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > qmpMaxLine:
			return nil, fmt.Errorf("a line of more than %d bytes", qmpMaxLine)
		case err == nil:
			return line, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}

// listen hands out replies and events until QEMU is gone.
func (c *qmpClient) listen(lines *bufio.Reader) {
	defer close(c.Events)
	for {
		line, err := readLine(lines)
		if err != nil {
			c.fail(err)
			return
		}
		var reply qmpReply
		if err := json.Unmarshal(line, &reply); err != nil {
			c.fail(fmt.Errorf("qmp: %.80q: %w", line, err))
			return
		}
		if reply.Name != "" {
			c.event(reply.qmpEvent)
			continue
		}
		c.answer(reply)
	}
}

// event drops the oldest event when nobody takes them: the last ones tell
// how the VM ended.
func (c *qmpClient) event(e qmpEvent) {
	for {
		select {
		case c.Events <- e:
			return
		default:
		}
		select {
		case <-c.Events:
		default:
		}
	}
}

// answer wakes whoever waits for the reply; a reply nobody waits for any more
// is dropped.
func (c *qmpClient) answer(reply qmpReply) {
	c.mu.Lock()
	waiter := c.waiting[reply.ID]
	delete(c.waiting, reply.ID)
	c.mu.Unlock()
	if waiter != nil {
		waiter <- reply
	}
}

// fail ends all commands under way and all to come.
func (c *qmpClient) fail(err error) {
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ECONNRESET) {
		err = errQMPClosed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
	for id, waiter := range c.waiting {
		close(waiter)
		delete(c.waiting, id)
	}
}

// Do sends one command and waits for its reply, which is decoded into result
// unless that is nil. Files are handed over with it (getfd).
func (c *qmpClient) Do(ctx context.Context, command string, args, result any, files ...*os.File) error {
	waiter, id, err := c.send(command, args, files)
	if err != nil {
		return fmt.Errorf("qmp %s: %w", command, err)
	}
	timeout := time.NewTimer(qmpTimeout)
	defer timeout.Stop()
	select {
	case reply, ok := <-waiter:
		return c.take(command, reply, ok, result)
	case <-ctx.Done():
		err = ctx.Err()
	case <-timeout.C:
		err = errNoReply
	}
	c.mu.Lock()
	delete(c.waiting, id)
	c.mu.Unlock()
	return fmt.Errorf("qmp %s: %w", command, err)
}

// take decodes a reply.
func (c *qmpClient) take(command string, reply qmpReply, ok bool, result any) error {
	if !ok {
		c.mu.Lock()
		defer c.mu.Unlock()
		return fmt.Errorf("qmp %s: %w", command, c.err)
	}
	if reply.Error != nil {
		return fmt.Errorf("qmp %s: %w", command, reply.Error)
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(reply.Return, result); err != nil {
		return fmt.Errorf("qmp %s: reply %.80q: %w", command, reply.Return, err)
	}
	return nil
}

// send writes a command, with the descriptors of files beside it.
func (c *qmpClient) send(command string, args any, files []*os.File) (chan qmpReply, uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, 0, c.err
	}
	c.nextID++
	line, err := json.Marshal(struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
		ID        uint64 `json:"id"`
	}{command, args, c.nextID})
	if err != nil {
		return nil, 0, err
	}
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		rights = syscall.UnixRights(fds...)
	}
	waiter := make(chan qmpReply, 1)
	c.waiting[c.nextID] = waiter
	c.conn.SetWriteDeadline(time.Now().Add(qmpTimeout))
	if _, _, err := c.conn.WriteMsgUnix(append(line, '\n'), rights, nil); err != nil {
		delete(c.waiting, c.nextID)
		if errors.Is(err, syscall.EPIPE) {
			err = errQMPClosed
		}
		return nil, 0, err
	}
	return waiter, c.nextID, nil
}

// human runs a command of QEMU's monitor for people, where QMP has none.
func (c *qmpClient) human(ctx context.Context, line string) (string, error) {
	var text string
	err := c.Do(ctx, "human-monitor-command", map[string]string{"command-line": line}, &text)
	return text, err
}

// Close gives up the socket; listen then ends.
func (c *qmpClient) Close() error { return c.conn.Close() }
