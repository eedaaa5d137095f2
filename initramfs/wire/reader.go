package wire

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// MaxMessages bounds how many messages one guest may send, for a flood of
// small ones costs the host more than its bytes tell.
const MaxMessages = 1 << 18

// Reader is the host's end. It checks every length before it allocates, knows
// the kinds and the streams there are, gathers the streams and compares them
// with what the guest says it sent.
type Reader struct {
	r        *bufio.Reader
	frame    []byte
	total    int64
	messages int
	greeted  bool
	done     bool
	phase    int // how many of the phases have begun
	open     map[string]*bytes.Buffer
	whole    map[string][]byte
}

// NewReader reads messages from r.
func NewReader(r io.Reader) *Reader {
	return &Reader{
		r:     bufio.NewReaderSize(r, MaxFrame),
		open:  map[string]*bytes.Buffer{},
		whole: map[string][]byte{},
	}
}

// Next returns the next message, as a value (Hello, not *Hello). After Done it
// returns io.EOF and reads no more: what a guest says after its last word is
// not heard. Any other error wraps ErrProtocol, ErrFlood or ErrCut, or is the
// underlying reader's, and ends the conversation.
func (r *Reader) Next() (Message, error) {
	if r.done {
		return nil, io.EOF
	}
	body, err := r.readFrame()
	if err != nil {
		return nil, err
	}
	m, err := decode(Kind(body[0]), body[1:])
	if err != nil {
		return nil, err
	}
	if err := r.take(m); err != nil {
		return nil, err
	}
	r.messages++
	return m, nil
}

// Stream returns a stream that has ended and was whole.
func (r *Reader) Stream(name string) ([]byte, bool) {
	b, ok := r.whole[name]
	return b, ok
}

// Partial returns what came of a stream, whole or not: evidence, where a guest
// died in the middle of its answer.
func (r *Reader) Partial(name string) []byte {
	if b, ok := r.whole[name]; ok {
		return b
	}
	if b, ok := r.open[name]; ok {
		return b.Bytes()
	}
	return nil
}

func (r *Reader) readFrame() ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		return nil, cut("before Done", err)
	}
	n := binary.BigEndian.Uint32(head[:])
	switch {
	case n == 0:
		return nil, fmt.Errorf("%w: an empty frame", ErrProtocol)
	case n > MaxFrame:
		return nil, fmt.Errorf("%w: a frame of %d bytes, limit %d", ErrFlood, n, MaxFrame)
	case r.total+int64(n) > MaxTotal:
		return nil, fmt.Errorf("%w: over %d bytes in all", ErrFlood, int64(MaxTotal))
	case r.messages >= MaxMessages:
		return nil, fmt.Errorf("%w: over %d messages", ErrFlood, MaxMessages)
	}
	r.total += int64(n)
	r.frame = slices.Grow(r.frame[:0], int(n))[:n]
	if _, err := io.ReadFull(r.r, r.frame); err != nil {
		return nil, cut("in a frame", err)
	}
	return r.frame, nil
}

// cut names an end of file that came too early; other errors are the port's.
func cut(where string, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: end of file %s", ErrCut, where)
	}
	return fmt.Errorf("read the guest's port: %w", err)
}

// take checks a message against what came before it.
func (r *Reader) take(m Message) error {
	if _, ok := m.(Hello); ok == r.greeted {
		return fmt.Errorf("%w: %c, where the first message, and only the first, is a Hello", ErrProtocol, m.Kind())
	}
	r.greeted = true
	switch m := m.(type) {
	case Phase:
		return r.begin(m)
	case Load:
		if m.Canary && r.ready() {
			return fmt.Errorf("%w: another canary, after the job could be there", ErrProtocol)
		}
	case Data:
		return r.gather(m)
	case End:
		return r.close(m)
	case Done:
		return r.finish(m)
	}
	return nil
}

// begin wants the phases to go forward: the one in which the module under test
// begins to own the guest comes once.
func (r *Reader) begin(p Phase) error {
	n := slices.Index(phases, p.Name) + 1
	if n <= r.phase {
		return fmt.Errorf("%w: phase %q after %q", ErrProtocol, p.Name, phases[r.phase-1])
	}
	r.phase = n
	return nil
}

// ready tells whether the guest may have its job. What it says of the canary
// then is the module's under test as well.
func (r *Reader) ready() bool { return r.phase > slices.Index(phases, PhaseReady) }

func (r *Reader) gather(d Data) error {
	if d.Stream == StreamCanary && r.ready() {
		return fmt.Errorf("%w: %s, after the job could be there", ErrProtocol, d.Stream)
	}
	if _, again := r.whole[d.Stream]; again {
		return fmt.Errorf("%w: %s goes on after its end", ErrProtocol, d.Stream)
	}
	b := r.open[d.Stream]
	if b == nil {
		b = &bytes.Buffer{}
		r.open[d.Stream] = b
	}
	if b.Len()+len(d.Bytes) > MaxStream {
		return fmt.Errorf("%w: %s is over %d bytes", ErrFlood, d.Stream, MaxStream)
	}
	b.Write(d.Bytes)
	return nil
}

func (r *Reader) close(e End) error {
	if e.Stream == StreamCanary && r.ready() {
		return fmt.Errorf("%w: %s ends after the job could be there", ErrProtocol, e.Stream)
	}
	if _, again := r.whole[e.Stream]; again {
		return fmt.Errorf("%w: %s ends twice", ErrProtocol, e.Stream)
	}
	b := []byte{} // a stream without data is empty, and whole
	if buf := r.open[e.Stream]; buf != nil {
		b = buf.Bytes()
	}
	if int64(len(b)) != e.Bytes {
		return fmt.Errorf("%w: %s has %d bytes, the guest claims %d", ErrCut, e.Stream, len(b), e.Bytes)
	}
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != e.SHA256 {
		return fmt.Errorf("%w: the sum of %s is wrong", ErrCut, e.Stream)
	}
	delete(r.open, e.Stream)
	r.whole[e.Stream] = b
	return nil
}

func (r *Reader) finish(d Done) error {
	if len(r.open) > 0 {
		return fmt.Errorf("%w: done, but %d streams have no end", ErrCut, len(r.open))
	}
	if d.Messages != r.messages {
		return fmt.Errorf("%w: %d messages came, the guest claims %d", ErrCut, r.messages, d.Messages)
	}
	r.done = true
	return nil
}

func decode(kind Kind, payload []byte) (Message, error) {
	limit, known := limits[kind]
	if !known {
		return nil, fmt.Errorf("%w: a message of kind %q", ErrProtocol, byte(kind))
	}
	if len(payload) > limit {
		return nil, fmt.Errorf("%w: %d bytes of kind %c, limit %d", ErrFlood, len(payload), kind, limit)
	}
	m, err := decoders[kind](payload)
	if err == nil {
		err = check(m)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %c: %w", ErrProtocol, kind, err)
	}
	return m, nil
}

var decoders = map[Kind]func([]byte) (Message, error){
	KindHello:    object[Hello],
	KindPhase:    object[Phase],
	KindLoad:     object[Load],
	KindUnload:   object[Unload],
	KindExercise: object[Exercise],
	KindTracked:  object[Tracked],
	KindScan:     object[Scan],
	KindWalk:     object[WalkStep],
	KindData:     chunk,
	KindEnd:      object[End],
	KindTrouble:  object[Trouble],
	KindDone:     object[Done],
}

// object decodes one JSON object. Unmarshal itself refuses what stands behind
// it and bounds the nesting.
func object[M Message](payload []byte) (Message, error) {
	var m *M
	if err := json.Unmarshal(payload, &m); err != nil {
		return nil, err
	}
	if m == nil {
		return nil, errors.New("null, want an object")
	}
	return *m, nil
}

// chunk decodes the payload of a KindData: name length, name, bytes.
func chunk(payload []byte) (Message, error) {
	if len(payload) == 0 || len(payload) < 1+int(payload[0]) {
		return nil, errors.New("no stream name")
	}
	n := 1 + int(payload[0])
	d := Data{Stream: string(payload[1:n]), Bytes: payload[n:]}
	if len(d.Bytes) > MaxChunk {
		return nil, fmt.Errorf("a chunk of %d bytes, limit %d", len(d.Bytes), MaxChunk)
	}
	return d, nil
}
