package wire

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Version is the version of this protocol, sent in Hello. Host and agent are
// made from the same sources, so a host that meets another version meets a
// stale template.
const Version = 1

// Message is one message of the guest: Hello, Phase, Load, Unload, Exercise,
// Tracked, Scan, WalkStep, Data, End, Trouble or Done.
type Message interface{ Kind() Kind }

// Data is a piece of a stream. Its bytes are valid until the Reader's next
// message.
type Data struct {
	Stream string
	Bytes  []byte
}

// Kind is the first byte of the message's body.
func (Hello) Kind() Kind { return KindHello }

// Kind is the first byte of the message's body.
func (Phase) Kind() Kind { return KindPhase }

// Kind is the first byte of the message's body.
func (Load) Kind() Kind { return KindLoad }

// Kind is the first byte of the message's body.
func (Unload) Kind() Kind { return KindUnload }

// Kind is the first byte of the message's body.
func (Exercise) Kind() Kind { return KindExercise }

// Kind is the first byte of the message's body.
func (Tracked) Kind() Kind { return KindTracked }

// Kind is the first byte of the message's body.
func (Scan) Kind() Kind { return KindScan }

// Kind is the first byte of the message's body.
func (WalkStep) Kind() Kind { return KindWalk }

// Kind is the first byte of the message's body.
func (Data) Kind() Kind { return KindData }

// Kind is the first byte of the message's body.
func (End) Kind() Kind { return KindEnd }

// Kind is the first byte of the message's body.
func (Trouble) Kind() Kind { return KindTrouble }

// Kind is the first byte of the message's body.
func (Done) Kind() Kind { return KindDone }

// Writer is the guest's end. It makes one Write a message, so that a port
// never sees half a frame of a live agent.
type Writer struct {
	w        io.Writer
	messages int
}

// NewWriter writes messages to w.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Messages counts what was sent, for Done.
func (w *Writer) Messages() int { return w.messages }

// Send writes one message. A text that would overflow its kind's limit is the
// sender's mistake and an error here, not a surprise on the host.
func (w *Writer) Send(m Message) error {
	if d, ok := m.(Data); ok {
		return w.data(d)
	}
	payload, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode %c: %w", m.Kind(), err)
	}
	return w.SendRaw(m.Kind(), payload)
}

// SendRaw writes a message whose JSON somebody else has made: the agent hands
// on what its children say without taking kernel addresses into its own
// registers, where kmemleak would find them.
func (w *Writer) SendRaw(kind Kind, payload []byte) error {
	if limit := limits[kind]; len(payload) > limit {
		return fmt.Errorf("send %c: %d bytes, limit %d", kind, len(payload), limit)
	}
	return w.frame(kind, payload)
}

// Stream sends all of b under a name, in chunks, and its End.
func (w *Writer) Stream(name string, b []byte) error {
	sum := sha256.Sum256(b)
	end := End{Stream: name, Bytes: int64(len(b)), SHA256: hex.EncodeToString(sum[:])}
	for len(b) > 0 {
		n := min(len(b), MaxChunk)
		if err := w.data(Data{Stream: name, Bytes: b[:n]}); err != nil {
			return err
		}
		b = b[n:]
	}
	return w.Send(end)
}

// Done sends the last message, with the count of all before it.
func (w *Writer) Done() error { return w.Send(Done{Messages: w.messages}) }

func (w *Writer) data(d Data) error {
	if len(d.Stream) > 255 || len(d.Bytes) > MaxChunk {
		return fmt.Errorf("send %s: chunk of %d bytes, limit %d", d.Stream, len(d.Bytes), MaxChunk)
	}
	payload := make([]byte, 0, 1+len(d.Stream)+len(d.Bytes))
	payload = append(payload, byte(len(d.Stream)))
	payload = append(payload, d.Stream...)
	return w.frame(KindData, append(payload, d.Bytes...))
}

func (w *Writer) frame(kind Kind, payload []byte) error {
	b := make([]byte, 0, 5+len(payload))
	b = binary.BigEndian.AppendUint32(b, uint32(1+len(payload)))
	b = append(b, byte(kind))
	n, err := w.w.Write(append(b, payload...))
	if err == nil && n != 5+len(payload) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return fmt.Errorf("send %c: %w", kind, err)
	}
	w.messages++
	return nil
}

// The ways in which a guest's answer can be wrong. The host maps them to the
// reasons "protocol", "flood" and "answer-cut".
var (
	ErrProtocol = errors.New("the guest sent what no agent sends")
	ErrFlood    = errors.New("the guest sent more than it may")
	ErrCut      = errors.New("the guest's answer is cut short")
)

// limits bounds the payload of each kind, and is the list of known kinds.
var limits = map[Kind]int{
	KindHello:    1 << 10,
	KindPhase:    1 << 10,
	KindLoad:     60 << 10, // sections of a big module: some hundred, 40 bytes each
	KindUnload:   8 << 10,
	KindExercise: 1 << 10,
	KindTracked:  1 << 10,
	KindScan:     1 << 10,
	KindWalk:     1 << 10,
	KindData:     1 + 255 + MaxChunk,
	KindEnd:      1 << 10,
	KindTrouble:  16 << 10,
	KindDone:     1 << 10,
}
