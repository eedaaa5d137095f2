package harness

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// FuzzQMP lets QEMU say anything while three commands wait. The client does not
// block; a command has the first reply with its id, and no other; the last events
// are kept, in order and bounded; and the first line that is no JSON ends it all.
func FuzzQMP(f *testing.F) {
	for _, text := range []string{
		`{"id": 2, "return": {}}` + "\n" + `{"event": "STOP"}` + "\n" + `{"id": 4, "error": {"desc": "no"}}` + "\n",
		`{"id": 3, "return": 1}` + "\n" + `{"id": 3, "return": 2}` + "\n" + `{"id": 77}` + "\n{}\nnull\n",
		`{"event": "STOP", "id": 2, "return": 3}` + "\n",
		`{"id": -1}` + "\n", `{"id": 2`, "\n", `{"id": 2, "return": {}}` + "\nno JSON\n" + `{"id": 3, "return": {}}` + "\n",
		strings.Repeat(`{"event": "E"}`+"\n", qmpEvents) + `{"event": "LAST"}` + "\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		c, q := connected(t)
		waiters := map[uint64]chan qmpReply{}
		for range 3 {
			waiter, id, err := c.send("query-status", nil, nil)
			require.NoError(t, err)
			waiters[id] = waiter
		}
		go func() {
			_, _ = q.Write(said)
			q.Close()
		}()
		wantReplies, wantEvents := heard(said)
		require.Equal(t, wantEvents, eventsOf(t, c))
		for id, waiter := range waiters {
			reply, ok := <-waiter // closed by now, or answered
			want, answered := wantReplies[id]
			require.Equal(t, answered, ok, "command %d", id)
			require.Equal(t, want, string(reply.Return))
		}
		require.Error(t, c.Do(t.Context(), "query-status", nil, nil))
	})
}

// eventsOf waits for the end, so that all events are there that are kept.
func eventsOf(t *testing.T, c *qmpClient) []string {
	t.Helper()
	ended := time.After(20 * time.Second) // a client that blocks, not a slow machine
	for !func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.err != nil }() {
		select {
		case <-ended:
			t.Fatal("the client goes on, and QEMU is gone")
		case <-time.After(20 * time.Microsecond):
		}
	}
	var names []string
	for e := range c.Events {
		names = append(names, e.Name)
	}
	return names
}

// heard is what must be made of the text: the "return" of each id's first reply,
// and the last events.
func heard(said []byte) (replies map[uint64]string, events []string) {
	replies = map[uint64]string{}
	lines := slices.Collect(bytes.SplitSeq(said, []byte("\n")))
	for _, line := range lines[:len(lines)-1] { // what has no end is no line
		var l struct {
			ID     uint64
			Return json.RawMessage
			Error  *struct{ Class, Desc string }
			Event  string
			Data   json.RawMessage
		}
		if json.Unmarshal(line, &l) != nil {
			break
		}
		if _, again := replies[l.ID]; l.Event == "" && !again {
			replies[l.ID] = string(l.Return)
		} else if l.Event != "" {
			events = append(events, l.Event)
		}
	}
	return replies, events[max(0, len(events)-qmpEvents):]
}
