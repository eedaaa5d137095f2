package main

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// parkedThreads are threads that wait to run one function each.
//
// While a thread runs, x86 keeps the end of its kernel stack in per-CPU memory
// (top_of_stack), which every scan reads: without VMAP_STACK that is the address of
// whatever lies behind the stack. An object of 9001 bytes there was never reported
// by the thread in front of it (found in guest memory, 6.12). So the threads that
// scan are started early, one after the other, on pages that nobody has used: behind
// each lies the stack of the next, and the last is never used.
type parkedThreads []chan func()

// parked is how many threads are started at a time: enough for the scans before the
// work and for those that decide, and the last.
const parked = minScans + maxScans + 1

// do runs f on the next thread, and ends that.
func (p *parkedThreads) do(f func()) {
	if len(*p) < 2 {
		p.park()
	}
	next := (*p)[0]
	*p = (*p)[1:]
	done := make(chan struct{})
	next <- func() {
		defer close(done)
		f()
	}
	<-done
}

func (p *parkedThreads) park() {
	*p = nil
	for range parked {
		work, up := make(chan func()), make(chan struct{})
		go onlyHere(func() {
			close(up)
			(<-work)()
		})
		<-up
		*p = append(*p, work)
	}
}

// onFreshThread runs f on a new OS thread with every signal blocked, and ends
// the thread.
//
// Blocked, because a pending signal cuts a scan short and the write succeeds
// all the same. New, because kmemleak scans the whole of every kernel stack,
// the dead part below the stack pointer too: a thread that has read records,
// forked a loader or scanned before still has the addresses of objects lying
// there, and keeps them from being reported. A new thread's stack is zeroed
// (kernel/fork.c, alloc_thread_stack_node).
func onFreshThread(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		onlyHere(f)
	}()
	<-done
}

// onMortalThread is onFreshThread for an f that the kernel may not come back from: an
// oops ends the thread and leaves the process. It tells whether f returned.
func onMortalThread(f func()) bool {
	tid, done := make(chan int, 1), make(chan struct{})
	go func() {
		defer close(done)
		onlyHere(func() {
			tid <- unix.Gettid()
			f()
		})
	}()
	comm := fmt.Sprintf("/proc/self/task/%d/comm", <-tid)
	for gone := false; !gone; {
		select {
		case <-done:
			return true
		case <-time.After(100 * time.Millisecond):
			_, err := readFile(comm)
			gone = errors.Is(err, unix.ENOENT)
		}
	}
	select {
	case <-done: // just now
		return true
	default:
		return false
	}
}

// onlyHere runs f on a thread that is the goroutine's own, with every signal blocked.
func onlyHere(f func()) {
	runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
	var all, old unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	_ = unix.PthreadSigmask(unix.SIG_SETMASK, &all, &old) // cannot fail with a valid how
	f()
}

// leaveMainThread ends the main thread of PID 1 and leaves the others running,
// as pthread_exit does. Its kernel stack is the one on which the kernel ran all
// of its initcalls: kilobytes of addresses of objects that are long freed, and
// that a leak may be given again. A leader that has exited stays as a zombie,
// without a stack; the kernel makes another thread of the group the reaper of
// orphans (kernel/exit.c, find_child_reaper).
func leaveMainThread() {
	for {
		_, _, _ = unix.Syscall(unix.SYS_EXIT, 0, 0, 0) // does not return
	}
}

// occupyStacks parks threads for ever on the stacks that the kernel keeps for
// reuse. Called before and after the main thread ended, it takes that thread's
// stack out of circulation: every kernel thread still has addresses on its own
// stack that lead into it (kthread_create waits there), and would hide an
// object that vmalloc put in its place.
func occupyStacks() {
	var up sync.WaitGroup
	for range 4 {
		up.Add(1)
		go func() {
			runtime.LockOSThread()
			up.Done()
			select {}
		}()
	}
	up.Wait()
}

// scrubStacks overwrites the kernel stacks of threads that ended. The kernel
// keeps two dead stacks a CPU for reuse and kmemleak scans them like any other
// vmalloc area (kernel/fork.c, cached_stacks), with all that a module's loader
// left there. Eight threads that live at the same time take them, zeroed, and
// leave dull ones behind.
func scrubStacks() {
	var up, gone sync.WaitGroup
	end := make(chan struct{})
	for range 8 {
		up.Add(1)
		gone.Go(func() {
			runtime.LockOSThread()
			up.Done()
			<-end
		})
	}
	up.Wait()
	close(end)
	gone.Wait()
}
