package harness

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hugelgupf/vmtest/qemu"
)

const (
	// quitTimeout is how long QEMU may take to end by itself.
	quitTimeout = 2 * time.Second
	// stderrMax bounds what is kept of QEMU's own output.
	stderrMax = 64 << 10
)

// guest is one running QEMU and the pipes to it. It ends with Close, and with
// the process that started it, unless it is kept.
type guest struct {
	plan    plan
	dir     *tempDir
	qmp     *qmpClient
	console *console
	port    *os.File // what the agent says
	answer  *answer  // what was made of it
	stderr  *tail    // what QEMU itself says
	command string   // as typed in a shell
	began   time.Time
	leave   func() // gives its place on the host to another

	closing sync.Once
	vm      *qemu.VM
	exited  chan struct{} // closed when QEMU is gone
	err     error         // how it went; valid once exited is closed
}

// start starts QEMU with its clock stopped, as soon as the host has a place for it.
// The files that the plan names must be there; FIFOs, and the control socket, are
// made here.
func (h *Host) start(ctx context.Context, dir *tempDir, p plan) (*guest, error) {
	leave, err := h.place(ctx)
	if err != nil {
		return nil, err
	}
	g, err := startNow(ctx, dir, p, leave)
	if err != nil {
		leave()
	}
	return g, err
}

func startNow(ctx context.Context, dir *tempDir, p plan, leave func()) (*guest, error) {
	p.con, p.port = dir.file("con"), dir.file("port")
	for _, fifo := range []string{p.con + ".in", p.con + ".out", p.port + ".in", p.port + ".out"} {
		if err := syscall.Mkfifo(fifo, 0o600); err != nil {
			return nil, hostError("", "mkfifo %s: %w", fifo, err)
		}
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, hostError("", "socketpair: %w", err)
	}
	g := &guest{dir: dir, stderr: &tail{max: stderrMax}, exited: make(chan struct{}), began: time.Now(), leave: leave}
	err = g.launch(p, theirs)
	theirs.Close()
	if err != nil {
		ours.Close()
		return nil, hostError("", "start %s: %w", p.qemu, err)
	}
	if err := g.connect(ctx, ours); err != nil {
		if ctx.Err() == nil {
			err = g.howEnded(err)
		}
		g.Close()
		said := g.stderr.lastLine()
		return nil, hostError(cureQEMU(err, said), "%s: %w%s", p.facts.program, err, said)
	}
	return g, nil
}

// howEnded tells how QEMU ended, if that is why it does not answer.
func (g *guest) howEnded(err error) error {
	select {
	case <-g.exited:
		return cmp.Or(g.err, err)
	case <-time.After(quitTimeout):
		return err
	}
}

// cureQEMU is what to do about a QEMU that ended by itself.
func cureQEMU(err error, said string) string {
	const fewer = "`--jobs 1` runs one driver at a time"
	switch {
	case strings.Contains(said, "Cannot allocate memory"):
		return "free some memory; " + fewer
	case endedBy(err, syscall.SIGKILL):
		return "if nobody killed it, this machine was out of memory; " + fewer
	}
	return "`kmemgate doctor` checks this machine's QEMU"
}

// connect opens the pipes. The greeting comes after QEMU has opened its ends:
// from then on an end of file means that QEMU is gone.
func (g *guest) connect(ctx context.Context, ours *net.UnixConn) (err error) {
	if g.qmp, err = newQMP(ctx, ours); err != nil {
		return err
	}
	if g.port, err = openFIFO(g.plan.port + ".out"); err != nil {
		return err
	}
	out, err := openFIFO(g.plan.con + ".out")
	if err != nil {
		return err
	}
	g.console = readConsole(out, g.plan.consoleMax)
	return nil
}

// Close ends QEMU, waits until it is gone and its last words were read, and
// removes the private folder. Another guest may then have its place.
func (g *guest) Close() {
	g.closing.Do(func() {
		g.quit()
		if g.qmp != nil {
			g.qmp.Close()
		}
		if g.console != nil {
			g.console.wait()
		}
		if g.answer != nil {
			<-g.answer.over
		}
		if g.port != nil {
			g.port.Close()
		}
		// What cannot be removed now is swept by a later run.
		_ = g.dir.remove()
		g.leave()
	})
}

// quit ends QEMU, first with a word and then without. A clone is ended at once: it
// has nothing to put in order, and what it wrote into the pipes stays there.
func (g *guest) quit() {
	if g.plan.role == roleClone {
		_ = g.vm.Kill() // it may have ended
		<-g.exited
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), quitTimeout)
	defer cancel()
	if g.qmp != nil && g.qmp.Do(ctx, "quit", nil, nil) == nil {
		select {
		case <-g.exited:
		case <-ctx.Done():
		}
	}
	_ = g.vm.Kill()
	<-g.exited
}

// listen begins to gather what the agent says; before is what it has said in
// another life, heard what shall be kept of it.
func (g *guest) listen(before []byte, heard io.Writer) *answer {
	var port io.Reader = g.port
	if heard != nil {
		port = io.TeeReader(port, heard)
	}
	g.answer = readAnswer(before, port)
	return g.answer
}

// socketPair is a connection to QEMU's monitor that needs no name in the file
// system: nothing to wait for, nothing to leave behind, no limit on its path.
func socketPair() (*net.UnixConn, *os.File, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	mine := os.NewFile(uintptr(fds[0]), "qmp")
	theirs := os.NewFile(uintptr(fds[1]), "qmp")
	defer mine.Close()
	conn, err := net.FileConn(mine)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	unix, ok := conn.(*net.UnixConn)
	if !ok {
		return nil, nil, errors.Join(fmt.Errorf("a %T", conn), conn.Close(), theirs.Close())
	}
	return unix, theirs, nil
}

// openFIFO opens the reading end without waiting for a writer. A FIFO, not a
// socket: the guest's console writes single bytes, a socket's buffer is full
// after some 300 unread ones, and a guest that has to wait for the host does
// not repeat to the byte. The pipe is made as large as the kernel lets a user.
func openFIFO(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	const setPipeSize, size = 1031, 1 << 20 // F_SETPIPE_SZ, fs/pipe.c: pipe_max_size
	if raw, err := f.SyscallConn(); err == nil {
		// A smaller pipe works as well.
		_ = raw.Control(func(fd uintptr) { _, _, _ = syscall.Syscall(syscall.SYS_FCNTL, fd, setPipeSize, size) })
	}
	return f, nil
}

// quoteCommand writes a command so that it can be pasted into a shell.
func quoteCommand(args []string) string {
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = shellQuote(a)
	}
	return strings.Join(quoted, " ")
}
