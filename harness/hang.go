package harness

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"syscall"
	"time"
)

const (
	// traceWait is how long a hung guest may print its backtraces.
	traceWait = 2 * time.Second
	// rtcPL031 is the data register of arm64's real-time clock, seconds since
	// 1970 (hw/arm/virt.c: VIRT_RTC; hw/rtc/pl031.c: RTC_DR).
	rtcPL031 = 0x09010000
)

// now is the guest's clock. QEMU tells it by no command of its own; the
// machine's real-time clock counts it, as -rtc clock=vm asks.
func (g *guest) now(ctx context.Context) (time.Duration, error) {
	if g.plan.Kernel.Arch == "arm64" {
		return g.clockPL031(ctx)
	}
	var t struct {
		Day  int `json:"tm_mday"`
		Hour int `json:"tm_hour"`
		Min  int `json:"tm_min"`
		Sec  int `json:"tm_sec"`
	}
	err := g.qmp.Do(ctx, "qom-get", map[string]string{"path": "/machine", "property": "rtc-time"}, &t)
	return time.Duration(((t.Day*24+t.Hour)*60+t.Min)*60+t.Sec) * time.Second, err
}

// wordLine is a line of the monitor's xp.
// Example: 0000000009010000: 0x65920083
var wordLine = regexp.MustCompile(`^[0-9a-f]+: 0x([0-9a-f]{8})\s*$`)

func (g *guest) clockPL031(ctx context.Context) (time.Duration, error) {
	text, err := g.qmp.human(ctx, fmt.Sprintf("xp /1wx %#x", rtcPL031))
	if err != nil {
		return 0, err
	}
	m := wordLine.FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("xp: %.80q", text)
	}
	seconds, err := strconv.ParseUint(m[1], 16, 32)
	return time.Duration(seconds) * time.Second, err
}

// backtraces makes a hung kernel print where it is: blocked tasks and busy
// CPUs by SysRq, and by an NMI one that takes no interrupts any more. It is
// best effort: the guest is lost already.
func (g *guest) backtraces(ctx context.Context) {
	before := len(g.console.Bytes())
	for _, key := range []byte("wl") { // Documentation/admin-guide/sysrq.rst
		if g.sysrq(ctx, key) != nil {
			return
		}
	}
	if g.quiet(ctx) > before {
		return
	}
	if g.qmp.Do(ctx, "inject-nmi", nil, nil) == nil {
		g.quiet(ctx)
	}
}

// sysrq sends a break and a key over the serial port. The guest stands still
// meanwhile: it would wait for the key for 5 s of its time only, which a
// warped guest spends in milliseconds.
func (g *guest) sysrq(ctx context.Context, key byte) error {
	if err := g.qmp.Do(ctx, "stop", nil, nil); err != nil {
		return err
	}
	if err := g.qmp.Do(ctx, "chardev-send-break", map[string]string{"id": "console"}, nil); err != nil {
		return err
	}
	if err := g.typeKey(key); err != nil {
		return err
	}
	time.Sleep(20 * time.Millisecond) // QEMU takes the key from the FIFO
	if err := g.qmp.Do(ctx, "cont", nil, nil); err != nil {
		return err
	}
	g.quiet(ctx)
	return nil
}

func (g *guest) typeKey(key byte) error {
	in, err := os.OpenFile(g.plan.con+".in", os.O_WRONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	_, err = in.Write([]byte{key})
	return err
}

// quiet waits until the console stands still, and returns its length.
func (g *guest) quiet(ctx context.Context) int {
	deadline := time.After(traceWait)
	length := len(g.console.Bytes())
	for {
		select {
		case <-ctx.Done():
			return length
		case <-deadline:
			return len(g.console.Bytes())
		case <-g.exited:
			return len(g.console.Bytes())
		case <-time.After(traceWait / 4):
		}
		now := len(g.console.Bytes())
		if now == length {
			return now
		}
		length = now
	}
}
