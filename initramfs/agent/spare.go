package main

import (
	"encoding/json"
	"fmt"
	"io"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kmemgate/kmemgate/initramfs/wire"
)

// childProcess is a child that has been started.
type childProcess struct {
	pid  int
	asks int // where it is asked; closed unasked, it ends
	says int
}

// Two children are started for a template, one to load and one to unload, and wait to
// be asked: to start a program, and Go's runtime in it, is a fifth of all the code that
// a clone would have to translate. They are told that there is time to rehearse.
const (
	spares    = 2
	rehearses = "rehearses"
)

func startChild(args ...string) (childProcess, error) {
	var asked, said [2]int
	if err := unix.Pipe2(asked[:], unix.O_CLOEXEC); err != nil {
		return childProcess{}, fmt.Errorf("pipe: %w", err)
	}
	defer unix.Close(asked[0])
	if err := unix.Pipe2(said[:], unix.O_CLOEXEC); err != nil {
		unix.Close(asked[1])
		return childProcess{}, fmt.Errorf("pipe: %w", err)
	}
	defer unix.Close(said[1])
	c := childProcess{asks: asked[1], says: said[0]}
	var err error
	c.pid, err = syscall.ForkExec(self, append([]string{"kmemgate"}, args...), &syscall.ProcAttr{
		Env:   []string{"GODEBUG=asyncpreemptoff=1"},
		Files: []uintptr{uintptr(asked[0]), 1, 2, uintptr(said[1])},
	})
	if err != nil {
		unix.Close(c.asks)
		unix.Close(c.says)
	}
	return c, err
}

// ask tells the child what to do, all of it at once.
func (c childProcess) ask(text []byte) error {
	defer unix.Close(c.asks)
	_, err := port(c.asks).Write(text)
	return err
}

// end waits for a child that nobody will listen to.
func (c childProcess) end() {
	unix.Close(c.says)
	waitUntil(c.pid, uptime()+2*time.Second)
}

// keepSpares starts the children that wait, and lets them get ready.
func (a *agent) keepSpares() error {
	for range spares {
		c, err := startChild(rehearses)
		if err != nil {
			return memory(fmt.Errorf("start a child: %w", err))
		}
		a.spares = append(a.spares, c)
	}
	sleep(time.Second)
	return nil
}

// askChild asks a child that waits, or one that it starts. Out of memory, the kernel
// may have ended those that wait.
func (a *agent) askChild(text []byte) (childProcess, error) {
	for len(a.spares) > 0 {
		c := a.spares[0]
		a.spares = a.spares[1:]
		if c.ask(text) == nil {
			return c, nil
		}
		c.end()
	}
	c, err := startChild()
	if err != nil {
		return c, err
	}
	if err := c.ask(text); err != nil {
		c.end()
		return c, err
	}
	return c, nil
}

// dismissSpares ends the children that nobody will ask, if a script's end has not.
func (a *agent) dismissSpares() {
	for _, c := range a.spares {
		unix.Close(c.asks)
		c.end()
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
