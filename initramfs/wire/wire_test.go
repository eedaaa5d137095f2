package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// conversation is one message of each kind, in an order a guest could send.
var conversation = []Message{
	Hello{Version: Version, Release: "6.12.117", Machine: "x86_64", CPUs: 1, MinUnrefScans: -1, HZ: 250},
	Phase{Name: PhaseWork, UptimeNS: 23_086_458_331, Jiffies: 4294898038},
	Load{Module: "foo", UnderTest: true, Cycle: 1, PID: 101, Begin: 1, Sections: map[string]uint64{".text": 0xffffffffa0000000}, Bound: []string{"pci:edu:0000:00:05.0"}},
	Unload{Module: "foo", Cycle: 1, Errno: "EBUSY", Holders: []string{"bar"}, RefCnt: 1, Jiffies: 2},
	Exercise{Cycle: 1, Status: 1},
	Tracked{Objects: 7},
	Scan{N: 1, Jiffies: 3, Bytes: 750, Records: 1, TookNS: 4},
	WalkStep{N: 1, Injected: true, Errno: "ENOMEM", PID: 9, Begin: 5, End: 6},
	Trouble{Reason: ReasonExercise, Detail: "exit status 1\nlast words"},
}

// answer encodes the conversation, one stream of two chunks, and Done.
func answer(t testing.TB) []byte {
	var b bytes.Buffer
	w := NewWriter(&b)
	for _, m := range conversation {
		require.NoError(t, w.Send(m))
	}
	require.NoError(t, w.Stream(StreamLast, bytes.Repeat([]byte("x"), MaxChunk+1)))
	require.NoError(t, w.Stream(StreamBefore, nil))
	require.NoError(t, w.Done())
	return b.Bytes()
}

func readAll(r io.Reader) (*Reader, []Message, error) {
	reader := NewReader(r)
	var got []Message
	for {
		m, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return reader, got, nil
		}
		if err != nil {
			return reader, got, err
		}
		if d, ok := m.(Data); ok {
			d.Bytes = bytes.Clone(d.Bytes)
			m = d
		}
		got = append(got, m)
	}
}

func TestEveryKindSurvives(t *testing.T) {
	r, got, err := readAll(bytes.NewReader(answer(t)))
	require.NoError(t, err)
	assert.Equal(t, conversation, got[:len(conversation)])
	assert.Equal(t, Done{Messages: len(conversation) + 4}, got[len(got)-1])

	last, whole := r.Stream(StreamLast)
	assert.True(t, whole)
	assert.Len(t, last, MaxChunk+1)
	before, whole := r.Stream(StreamBefore)
	assert.True(t, whole, "an empty stream with an end is whole")
	assert.Empty(t, before)
	_, whole = r.Stream(StreamDmesg)
	assert.False(t, whole, "a stream that never came is not")
}

func TestAnswerCutAnywhereIsCut(t *testing.T) {
	whole := answer(t)
	for _, n := range []int{0, 1, 4, 5, 100, len(whole) / 2, len(whole) - 1} {
		_, _, err := readAll(bytes.NewReader(whole[:n]))
		assert.ErrorIs(t, err, ErrCut, "after %d bytes", n)
	}
}

func TestNothingIsHeardAfterDone(t *testing.T) {
	_, got, err := readAll(io.MultiReader(bytes.NewReader(answer(t)), bytes.NewReader([]byte{0xff, 0xff, 0xff, 0xff})))
	require.NoError(t, err)
	assert.Equal(t, KindDone, got[len(got)-1].Kind())
}

// frame makes a frame without asking whether any agent would.
func frame(kind Kind, payload string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(1+len(payload)))
	return append(append(b, byte(kind)), payload...)
}

func TestWhatNoAgentSends(t *testing.T) {
	hello := frame(KindHello, `{"version":1}`)
	data := func(stream, b string) []byte { return frame(KindData, string(rune(len(stream)))+stream+b) }
	ready := frame(KindPhase, `{"name":"ready"}`)
	done := func(messages int) []byte { return frame(KindDone, fmt.Sprintf(`{"messages":%d}`, messages)) }
	sumOfA := "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
	for name, c := range map[string]struct {
		frames [][]byte
		want   error
	}{
		"empty frame":               {[][]byte{{0, 0, 0, 0}}, ErrProtocol},
		"huge frame":                {[][]byte{{0xff, 0xff, 0xff, 0xff}}, ErrFlood},
		"frame one over the limit":  {[][]byte{{0, 1, 0, 1}}, ErrFlood},
		"unknown kind":              {[][]byte{frame('?', "{}")}, ErrProtocol},
		"no JSON":                   {[][]byte{frame(KindHello, "hello")}, ErrProtocol},
		"JSON and more":             {[][]byte{frame(KindHello, "{} {}")}, ErrProtocol},
		"null":                      {[][]byte{frame(KindHello, "null")}, ErrProtocol},
		"no hello first":            {[][]byte{frame(KindPhase, `{"name":"boot"}`)}, ErrProtocol},
		"two hellos":                {[][]byte{hello, hello}, ErrProtocol},
		"hello too long":            {[][]byte{frame(KindHello, `{"release":"`+string(bytes.Repeat([]byte("6"), 2000))+`"}`)}, ErrFlood},
		"release not printable":     {[][]byte{frame(KindHello, `{"release":"\u001b[2J"}`)}, ErrProtocol},
		"unknown phase":             {[][]byte{hello, frame(KindPhase, `{"name":"../x"}`)}, ErrProtocol},
		"module with a slash":       {[][]byte{hello, frame(KindLoad, `{"module":"../../etc/passwd"}`)}, ErrProtocol},
		"negative cycle":            {[][]byte{hello, frame(KindLoad, `{"module":"a","cycle":-1}`)}, ErrProtocol},
		"stream with a path":        {[][]byte{hello, data("../x", "a")}, ErrProtocol},
		"data without a name":       {[][]byte{hello, frame(KindData, "\x05abc")}, ErrProtocol},
		"stream shorter than said":  {[][]byte{hello, data(StreamLast, "a"), frame(KindEnd, `{"stream":"kmemleak.txt","bytes":2,"sha256":"`+sumOfA+`"}`), done(3)}, ErrCut},
		"stream with another sum":   {[][]byte{hello, data(StreamLast, "b"), frame(KindEnd, `{"stream":"kmemleak.txt","bytes":1,"sha256":"`+sumOfA+`"}`), done(3)}, ErrCut},
		"stream after its end":      {[][]byte{hello, data(StreamLast, "a"), frame(KindEnd, `{"stream":"kmemleak.txt","bytes":1,"sha256":"`+sumOfA+`"}`), data(StreamLast, "b")}, ErrProtocol},
		"a phase that was over":     {[][]byte{hello, ready, frame(KindPhase, `{"name":"canary"}`)}, ErrProtocol},
		"a second ready":            {[][]byte{hello, ready, ready}, ErrProtocol},
		"a canary of the job's":     {[][]byte{hello, ready, frame(KindLoad, `{"module":"a","canary":true}`)}, ErrProtocol},
		"a canary's log of the job": {[][]byte{hello, ready, data(StreamCanary, "a")}, ErrProtocol},
		"an end of that":            {[][]byte{hello, ready, frame(KindEnd, `{"stream":"canary.txt"}`)}, ErrProtocol},
		"done with an open stream":  {[][]byte{hello, data(StreamLast, "a"), done(2)}, ErrCut},
		"done with a wrong count":   {[][]byte{hello, done(7)}, ErrCut},
		"silence instead of a done": {[][]byte{hello}, ErrCut},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := readAll(bytes.NewReader(bytes.Join(c.frames, nil)))
			assert.ErrorIs(t, err, c.want)
		})
	}
}

// flood says hello and then repeats one frame for ever.
type flood struct{ hello, frame, left []byte }

func (f *flood) Read(b []byte) (int, error) {
	if len(f.left) == 0 {
		f.left = f.frame
		if f.hello != nil {
			f.left, f.hello = f.hello, nil
		}
	}
	n := copy(b, f.left)
	f.left = f.left[n:]
	return n, nil
}

func TestFloodsEnd(t *testing.T) {
	hello := frame(KindHello, `{}`)
	t.Run("of data", func(t *testing.T) {
		chunk := frame(KindData, "\x09"+StreamDmesg+string(make([]byte, MaxChunk)))
		_, got, err := readAll(&flood{hello: hello, frame: chunk})
		assert.ErrorIs(t, err, ErrFlood)
		assert.Len(t, got, 1+MaxStream/MaxChunk)
	})
	t.Run("of streams, none of them too long", func(t *testing.T) {
		parts := []io.Reader{bytes.NewReader(hello)}
		for _, stream := range []string{StreamBefore, StreamPassed, StreamStacks, StreamPrevious, StreamLast} {
			chunk := frame(KindData, string(rune(len(stream)))+stream+string(make([]byte, MaxChunk)))
			parts = append(parts, io.LimitReader(&flood{frame: chunk}, int64(MaxTotal/4/len(chunk)*len(chunk))))
		}
		_, _, err := readAll(io.MultiReader(parts...))
		require.ErrorIs(t, err, ErrFlood)
		require.ErrorContains(t, err, "in all")
	})
	t.Run("of messages", func(t *testing.T) {
		_, got, err := readAll(&flood{hello: hello, frame: frame(KindScan, `{}`)})
		assert.ErrorIs(t, err, ErrFlood)
		assert.Len(t, got, MaxMessages)
	})
}

func TestWriterRefusesWhatTheReaderWould(t *testing.T) {
	w := NewWriter(io.Discard)
	assert.Error(t, w.Send(Trouble{Reason: ReasonAgent, Detail: string(make([]byte, 20<<10))}))
	assert.Error(t, w.Send(Data{Stream: StreamLast, Bytes: make([]byte, MaxChunk+1)}))
	assert.Equal(t, 0, w.Messages(), "what was not sent does not count")
}

// FuzzReader: whatever comes, the reader neither panics nor takes more than it
// may, and what it accepted is the same when written and read again.
func FuzzReader(f *testing.F) {
	f.Add(answer(f))
	f.Add(frame(KindHello, `{"version":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, got, err := readAll(bytes.NewReader(b))
		if err == nil {
			require.NotEmpty(t, got)
			require.Equal(t, KindDone, got[len(got)-1].Kind(), "only Done ends an answer well")
		}
		var again bytes.Buffer
		w := NewWriter(&again)
		for _, m := range got {
			require.NoError(t, w.Send(m))
		}
		_, twice, _ := readAll(&again)
		require.Equal(t, got, twice)
	})
}
