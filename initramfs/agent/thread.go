package main

import (
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

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
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		var all, old unix.Sigset_t
		for i := range all.Val {
			all.Val[i] = ^all.Val[i]
		}
		_ = unix.PthreadSigmask(unix.SIG_SETMASK, &all, &old) // cannot fail with a valid how
		f()
	}()
	<-done
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
