package harness

import (
	"context"
	"os"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/hugelgupf/vmtest/qemu"
)

const (
	// releasedFile is how a kept QEMU's keeper says that it was released.
	releasedFile = "released"
	// releaseTimeout is how long it may take: on a busy machine, too.
	releaseTimeout = 20 * time.Second
)

// stillOurs runs a command if its parent is still the one whose id is $0. A parent
// that was killed between the fork and setpriv's prctl(2) sends no signal.
const stillOurs = `[ $PPID = "$0" ] && exec "$@"`

// keeperScript is the parent of a QEMU that is to be kept. What asks for a signal
// at its parent's end cannot be told otherwise from outside, so QEMU is bound to
// this script, and the script to us, by a signal (SIGTERM) that it ignores from
// SIGUSR1 on: then it says so by a file, $1.
const keeperScript = `[ $PPID = "$0" ] || exit
released=$1
shift
trap 'trap "" TERM; : > "$released"; again=1' USR1
setpriv --pdeathsig KILL -- sh -c '` + stillOurs + `' $$ "$@" &
again=1
while [ $again ]; do
  again=
  wait $!
  status=$?
done
exit $status`

// launch starts the process through vmtest. QEMU must not outlive us, even
// when we are killed: setpriv makes the kernel kill it with the thread that
// started it, so that this thread is kept until QEMU ends. A session of its
// own keeps a terminal's Ctrl-C from it: we end it in our own order.
//
// vmtest splits a QEMU command at blanks and reads VMTEST_* variables, so all
// fields are set here.
func (g *guest) launch(p plan, control *os.File) error {
	var vm *qemu.VM
	configure := func(_ *qemu.IDAllocator, o *qemu.Options) error {
		p.qmpFD = o.AddFile(control)
		if p.orphan {
			o.AddFile(g.dir.lock) // the folder is in use until QEMU ends
		}
		launcher := p.launcher(os.Getpid(), g.dir)
		o.QEMUCommand, o.QEMUArgs = launcher[0], append(launcher[1:], p.args()...)
		if p.role != roleClone { // whose memory holds them: to load them costs 12 to 15 ms
			o.Kernel, o.KernelArgs, o.Initramfs = p.Kernel.Image, p.kernelArgs(), p.initrd
		}
		o.SerialOutput = append(o.SerialOutput, g.stderr)
		o.VMTimeout = 0
		return nil
	}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		var err error
		vm, err = qemu.StartContext(context.Background(), p.facts.vmtest, configure)
		started <- err
		if err == nil {
			g.err = vm.Wait()
			close(g.exited)
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	line := vm.Cmdline()
	g.plan, g.vm, g.command = p, vm, quoteCommand(line[slices.Index(line, p.qemu):])
	return nil
}

// launcher is a command line up to QEMU's arguments, for a QEMU that ends with the
// process of this id: at any time, or up to its release.
func (p plan) launcher(parent int, dir *tempDir) []string {
	id := strconv.Itoa(parent)
	if p.orphan {
		return []string{"setsid", "setpriv", "--pdeathsig", "TERM", "--", "sh", "-c", keeperScript, id, dir.file(releasedFile), p.qemu}
	}
	return []string{"setsid", "setpriv", "--pdeathsig", "KILL", "--", "sh", "-c", stillOurs, id, p.qemu}
}

// release lets a kept QEMU outlive us from now on.
func (g *guest) release() error {
	if err := g.vm.Signal(syscall.SIGUSR1); err != nil {
		return hostError("", "release QEMU: %w", err)
	}
	late := time.After(releaseTimeout)
	for !exists(g.dir.file(releasedFile)) {
		select {
		case <-g.exited:
			return hostError("", "release QEMU: it has ended")
		case <-late:
			return hostError("", "release QEMU: no answer after %v", releaseTimeout)
		case <-time.After(migratePoll):
		}
	}
	return nil
}
