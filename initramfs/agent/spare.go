package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kmemgate/kmemgate/initramfs/wire"
)

// spare is a child that waits to be asked. Two of them, one to load and one to unload,
// are part of a template: to start a program, and Go's runtime in it, is a fifth of all
// the code that a clone would have to translate.
type spare struct {
	pid  int
	asks int // closed: it ends
	says int
}

// spares is how many are kept.
const spares = 2

// startSpare starts a child.
func startSpare() (spare, error) {
	var asked, said [2]int
	if err := unix.Pipe2(asked[:], unix.O_CLOEXEC); err != nil {
		return spare{}, fmt.Errorf("pipe: %w", err)
	}
	defer unix.Close(asked[0])
	if err := unix.Pipe2(said[:], unix.O_CLOEXEC); err != nil {
		unix.Close(asked[1])
		return spare{}, fmt.Errorf("pipe: %w", err)
	}
	defer unix.Close(said[1])
	pid, err := syscall.ForkExec(self, []string{"kmemgate"}, &syscall.ProcAttr{
		Env:   []string{"GODEBUG=asyncpreemptoff=1"},
		Files: []uintptr{uintptr(asked[0]), 1, 2, uintptr(said[1])},
	})
	if err != nil {
		unix.Close(asked[1])
		unix.Close(said[0])
		return spare{}, err
	}
	return spare{pid: pid, asks: asked[1], says: said[0]}, nil
}

// ask tells the child what to do, all of it at once.
func (s spare) ask(text []byte) error {
	defer unix.Close(s.asks)
	for len(text) > 0 {
		n, err := unix.Write(s.asks, text)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		text = text[n:]
	}
	return nil
}

// keepSpares starts the children that are kept, and lets them get ready.
func (a *agent) keepSpares() error {
	for range spares {
		s, err := startSpare()
		if err != nil {
			return memory(fmt.Errorf("start a child: %w", err))
		}
		a.spares = append(a.spares, s)
	}
	sleep(time.Second)
	return nil
}

// takeSpare is a child to be asked, one that waits if there is any.
func (a *agent) takeSpare() (spare, error) {
	if len(a.spares) == 0 {
		return startSpare()
	}
	s := a.spares[0]
	a.spares = a.spares[1:]
	return s, nil
}

// dismissSpares ends the children that nobody will ask, if a script's end has not.
func (a *agent) dismissSpares() {
	for _, s := range a.spares {
		unix.Close(s.asks)
		unix.Close(s.says)
		waitUntil(s.pid, uptime()+2*time.Second)
	}
	a.spares = nil
}

// rehearse has encoding/json find out about the types of what will be said: that
// remains in the memory of a template, and is not for each clone to find out.
func rehearse() {
	_ = json.Unmarshal([]byte(`{"module":{"name":""}}`), new(request))
	_ = json.Unmarshal([]byte(`{"modules":[{"name":""}]}`), new(wire.Job))
	w := wire.NewWriter(io.Discard)
	for _, m := range []wire.Message{
		wire.Load{Sections: map[string]uint64{".text": 1}, Bound: []string{""}}, wire.Unload{Bound: []string{""}},
		wire.Exercise{}, wire.Tracked{}, wire.Done{},
	} {
		_ = w.Send(m)
	}
}
