package harness

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const greeting = `{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}}, "capabilities": ["oob"]}}` + "\n"

// fakeQEMU is the other end of a control socket.
type fakeQEMU struct {
	*net.UnixConn
	lines *bufio.Scanner
}

func newFakeQEMU(t testing.TB) (*net.UnixConn, *fakeQEMU) {
	t.Helper()
	ours, theirs, err := socketPair()
	require.NoError(t, err)
	conn, err := net.FileConn(theirs)
	require.NoError(t, err)
	theirs.Close()
	q := &fakeQEMU{UnixConn: conn.(*net.UnixConn)}
	q.lines = bufio.NewScanner(q)
	t.Cleanup(func() { ours.Close(); q.Close() })
	return ours, q
}

// next reads a command.
func (q *fakeQEMU) next(t *testing.T) (command string, id uint64) {
	t.Helper()
	require.True(t, q.lines.Scan(), q.lines.Err())
	var c struct {
		Execute string
		ID      uint64
	}
	require.NoError(t, json.Unmarshal(q.lines.Bytes(), &c))
	return c.Execute, c.ID
}

func (q *fakeQEMU) say(format string, args ...any) { fmt.Fprintf(q, format+"\n", args...) }

// connected is a client that has shaken hands.
func connected(t *testing.T) (*qmpClient, *fakeQEMU) {
	t.Helper()
	ours, q := newFakeQEMU(t)
	go func() {
		io.WriteString(q, greeting)
		if q.lines.Scan() {
			q.say(`{"return": {}, "id": 1}`)
		}
	}()
	c, err := newQMP(t.Context(), ours)
	require.NoError(t, err)
	return c, q
}

func TestQMPMatchesRepliesByID(t *testing.T) {
	c, q := connected(t)
	answers := make(chan string, 2)
	ask := func(command string) {
		var v string
		assert.NoError(t, c.Do(t.Context(), command, nil, &v))
		answers <- command + "=" + v
	}
	go ask("one")
	first, id1 := q.next(t)
	go ask("two")
	second, id2 := q.next(t)
	require.Equal(t, []string{"one", "two"}, []string{first, second})
	q.say(`{"id": %d, "return": "2"}`, id2) // in the other order
	require.Equal(t, "two=2", <-answers)
	q.say(`{"id": %d, "return": "late"}`, 77) // nobody waits for it
	q.say(`{"id": %d, "return": "1"}`, id1)
	require.Equal(t, "one=1", <-answers)
}

func TestQMPErrorsAndEvents(t *testing.T) {
	c, q := connected(t)
	go func() {
		if q.lines.Scan() {
			q.say(`{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}, "timestamp": {"seconds": 1}}`)
			q.say(`{"id": 2, "error": {"class": "GenericError", "desc": "no such device"}}`)
		}
	}()
	err := c.Do(t.Context(), "device_del", map[string]string{"id": "x"}, nil)
	var told *qmpError
	require.ErrorAs(t, err, &told)
	assert.Equal(t, "qmp device_del: no such device", err.Error())
	e := <-c.Events
	assert.Equal(t, "SHUTDOWN", e.Name)
	assert.Equal(t, "guest-reset", e.reason())
}

func TestQMPKeepsTheLastEvents(t *testing.T) {
	c, q := connected(t)
	for i := range qmpEvents + 10 {
		q.say(`{"event": "E%d"}`, i)
	}
	q.Close()
	var last string
	require.Eventually(t, func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.err != nil }, time.Second, time.Millisecond)
	for e := range c.Events {
		last = e.Name
	}
	assert.Equal(t, fmt.Sprintf("E%d", qmpEvents+9), last)
}

func TestQMPHandsOverFiles(t *testing.T) {
	c, q := connected(t)
	f, err := os.CreateTemp(t.TempDir(), "")
	require.NoError(t, err)
	defer f.Close()
	_, err = f.WriteString("state")
	require.NoError(t, err)
	received := make(chan string, 1)
	go func() {
		buf, oob := make([]byte, 4096), make([]byte, 64)
		_, n, _, _, _ := q.ReadMsgUnix(buf, oob)
		received <- readPassed(oob[:n])
		q.say(`{"id": 2, "return": {}}`)
	}()
	require.NoError(t, c.Do(t.Context(), "getfd", map[string]string{"fdname": "state"}, nil, f))
	assert.Equal(t, "state", <-received)
}

// readPassed reads the one file that came beside a message.
func readPassed(oob []byte) string {
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil || len(messages) != 1 {
		return fmt.Sprint(len(messages), " control messages ", err)
	}
	fds, err := syscall.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return fmt.Sprint(len(fds), " descriptors ", err)
	}
	f := os.NewFile(uintptr(fds[0]), "passed")
	defer f.Close()
	b, _ := io.ReadAll(io.NewSectionReader(f, 0, 100))
	return string(b)
}

func TestQMPEndOfQEMU(t *testing.T) {
	c, q := connected(t)
	go func() {
		q.lines.Scan()
		q.Close()
	}()
	err := c.Do(t.Context(), "query-status", nil, nil)
	require.ErrorIs(t, err, errQMPClosed)
	require.ErrorIs(t, c.Do(t.Context(), "query-status", nil, nil), errQMPClosed)
}

func TestQMPBadGreetings(t *testing.T) {
	for name, text := range map[string]string{
		"another protocol": "SSH-2.0-OpenSSH_9.2\n",
		"no greeting":      `{"event": "RESUME"}` + "\n",
		"end of file":      "",
		"endless line":     strings.Repeat("x", qmpMaxLine+1),
	} {
		t.Run(name, func(t *testing.T) {
			ours, q := newFakeQEMU(t)
			go func() {
				io.WriteString(q, text)
				q.Close()
			}()
			_, err := newQMP(t.Context(), ours)
			require.ErrorContains(t, err, "qmp greeting: ")
		})
	}
}

func TestQMPBoundsAReply(t *testing.T) {
	c, q := connected(t)
	go func() {
		q.lines.Scan()
		q.say(`{"id": 2, "return": "%s"}`, strings.Repeat("x", qmpMaxLine+1))
	}()
	require.ErrorContains(t, c.Do(t.Context(), "human-monitor-command", nil, nil), "a line of more than")
}
