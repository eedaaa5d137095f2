package main

import (
	"bytes"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// uptime is the time since boot. Under icount it is made of instructions.
func uptime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// sleep waits in the kernel, on this thread: no Go timer, no other thread.
func sleep(d time.Duration) {
	end := unix.NsecToTimespec(int64(uptime() + d))
	for unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &end, nil) == unix.EINTR {
	}
}

// initialJiffies is INITIAL_JIFFIES of include/linux/jiffies.h: five minutes
// before 32 bits wrap.
func initialJiffies(hz int) uint64 { return 1<<32 - uint64(300*hz) }

// jiffies is the kernel's clock as kmemleak writes it into records. Where
// there is no timer_list (no TICK_ONESHOT) it is reckoned from the uptime.
func jiffies() uint64 {
	if j, ok := timerListJiffies(); ok {
		return j
	}
	hz := uint64(250)
	return initialJiffies(int(hz)) + uint64(uptime())*hz/uint64(time.Second)
}

// timerListJiffies reads the line "jiffies: 4294893254" of /proc/timer_list
// (kernel/time/timer_list.c, print_cpu).
func timerListJiffies() (uint64, bool) {
	var b []byte
	var err error
	// On a thread of its own: printing symbols leaves the ends of page-sized
	// buffers on the stack, and the end of one object is the start of the next.
	onFreshThread(func() { b, err = readFile("/proc/timer_list") })
	if err != nil {
		return 0, false
	}
	_, rest, found := bytes.Cut(b, []byte("\njiffies: "))
	if !found {
		return 0, false
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	j, err := strconv.ParseUint(string(line), 10, 64)
	return j, err == nil
}

// tickRate finds CONFIG_HZ: the one at which the jiffies since boot fit the
// uptime. 0 means that it could not be told.
func tickRate() int {
	j, ok := timerListJiffies()
	if !ok {
		return 0
	}
	return fitTickRate(j, uptime())
}

func fitTickRate(jiffies uint64, up time.Duration) int {
	for _, hz := range []int{100, 250, 300, 1000, 24, 48, 64, 128, 256, 1024, 1200} {
		gone := int64(jiffies) - int64(initialJiffies(hz))
		want := int64(up.Seconds() * float64(hz))
		// The candidates' starts lie 15,000 ticks and more apart; the clock
		// starts up to a second before the first tick.
		if diff := gone - want; diff > -2*int64(hz) && diff < 2*int64(hz) {
			return hz
		}
	}
	return 0
}
