package render

import (
	"bytes"
	"io"
	"sync"
)

// Lines writes what a guest prints, line by line, without what a terminal or
// the GitHub runner would obey. Several guests may share one.
type Lines struct {
	Out io.Writer

	mu   sync.Mutex
	held []byte // a line that has not ended
}

func (l *Lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = append(l.held, b...)
	for {
		i := bytes.IndexByte(l.held, '\n')
		if i < 0 && len(l.held) < maxLine {
			return len(b), nil
		}
		if i < 0 {
			i = len(l.held)
		}
		line := clean(string(bytes.TrimRight(l.held[:i], "\r")))
		l.held = l.held[min(i+1, len(l.held)):]
		if _, err := io.WriteString(l.Out, line+"\n"); err != nil {
			return len(b), err
		}
	}
}
