package harness

import "bytes"

// savedAnswer is what a template's guest said and printed before it was saved.
type savedAnswer struct {
	wire    []byte
	console []byte
}

func (s *savedAnswer) wireBytes() []byte {
	if s == nil {
		return nil
	}
	return s.wire
}

func (s *savedAnswer) consoleBytes() []byte {
	if s == nil {
		return nil
	}
	return bytes.Clone(s.console)
}
