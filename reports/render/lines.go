package render

import (
	"bytes"
	"io"
	"sync"
)

// Lines writes what a guest prints, line by line, without what a terminal or
// the GitHub runner would obey.
type Lines struct {
	Out io.Writer
	// Prefix stands before each line: whose it is.
	Prefix string

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
		if _, err := io.WriteString(l.Out, clean(l.Prefix)+line+"\n"); err != nil {
			return len(b), err
		}
	}
}
