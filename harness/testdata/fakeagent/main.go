// Command fakeagent is a PID 1 that goes wrong in the way that the kernel's
// argument fake= names, for the tests of package harness.
package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/kmemgate/kmemgate/initramfs/wire"
)

func main() {
	for dir, fs := range map[string]string{"/proc": "proc", "/sys": "sysfs", "/dev": "devtmpfs"} {
		_ = os.Mkdir(dir, 0o755)
		if err := syscall.Mount(fs, dir, fs, 0, ""); err != nil && err != syscall.EBUSY {
			fmt.Println("mount", dir, err)
		}
	}
	cmdline, _ := os.ReadFile("/proc/cmdline")
	_, way, _ := strings.Cut(strings.TrimSpace(string(cmdline)), "fake=")
	port := openPort()
	w := wire.NewWriter(port)
	send(w.Send(wire.Hello{Version: wire.Version, Release: "fake", Machine: "fake", CPUs: 1, HZ: 250}))
	send(w.Send(wire.Phase{Name: wire.PhaseBoot}))
	if way == "canary" {
		inventCanary(w)
	}
	send(w.Send(wire.Phase{Name: wire.PhaseReady}))
	if way != "early-exit" {
		awaitJob()
	}
	send(w.Send(wire.Phase{Name: wire.PhaseWork}))
	goWrong(way, w, port)
	for { // not select{}, which the runtime calls a deadlock
		time.Sleep(time.Hour)
	}
}

// goWrong does what the argument names.
func goWrong(way string, w *wire.Writer, port *os.File) {
	switch way {
	case "done":
		send(w.Stream(wire.StreamLast, []byte("unreferenced object\n")))
		send(w.Done())
	case "trouble":
		send(w.Send(wire.Trouble{Reason: wire.ReasonLoadFailed, Detail: "ENOEXEC"}))
		send(w.Done())
	case "panic":
		_ = os.WriteFile("/proc/sysrq-trigger", []byte("c"), 0)
	case "exit", "early-exit":
		os.Exit(3)
	case "hang":
		time.Sleep(24 * time.Hour)
	case "spin":
		for {
		}
	case "print":
		for {
			fmt.Println(strings.Repeat("flood ", 100))
		}
	case "huge": // a frame of 2 GB
		_, err := port.Write(binary.BigEndian.AppendUint32(nil, 2<<30))
		send(err)
	case "flood": // well-formed answers without an end, none of them too long
		most := make([]byte, wire.MaxStream*5/8)
		for _, stream := range []string{wire.StreamBefore, wire.StreamPassed, wire.StreamStacks, wire.StreamPrevious,
			wire.StreamLast, wire.StreamDmesg, wire.StreamExercise} {
			send(w.Stream(stream, most))
		}
	case "kind": // an unknown message
		_, err := port.Write([]byte{0, 0, 0, 2, '?', '?'})
		send(err)
	case "claim": // more bytes than there are
		send(w.Send(wire.Data{Stream: wire.StreamLast, Bytes: []byte("half")}))
		send(w.Send(wire.End{Stream: wire.StreamLast, Bytes: 8}))
	case "close": // stops in the middle of its answer, and lives on
		send(w.Send(wire.Data{Stream: wire.StreamLast, Bytes: []byte("half")}))
		send(port.Close())
	case "clean": // claims that all is well, in the right words
		claimClean(w, "")
	case "canary": // and has a canary to show, which nobody ever allocated
		claimClean(w, canaryLog())
	case "half": // dies in the middle of a frame
		_, err := port.Write([]byte{0, 0, 1, 0, 'D'})
		send(err)
		os.Exit(3)
	}
}

// claimClean is a whole answer, as the agent would give it of a module that
// leaks nothing.
func claimClean(w *wire.Writer, log string) {
	send(w.Send(wire.Load{Module: "wrong", UnderTest: true, Cycle: 1, PID: 70, Begin: 100, Inited: 101}))
	send(w.Send(wire.Unload{Module: "wrong", Cycle: 1, Jiffies: 102}))
	send(w.Send(wire.Tracked{Objects: 3}))
	send(w.Send(wire.Phase{Name: wire.PhaseSettle}))
	send(w.Send(wire.Phase{Name: wire.PhaseScan}))
	for n := 1; n <= 2; n++ {
		send(w.Send(wire.Scan{N: n}))
	}
	send(w.Send(wire.Phase{Name: wire.PhaseSend}))
	for _, stream := range []string{wire.StreamBefore, wire.StreamPassed, wire.StreamPrevious, wire.StreamLast} {
		send(w.Stream(stream, nil))
	}
	send(w.Stream(wire.StreamDmesg, []byte("[    1.000000] Linux version\n"+log)))
	send(w.Done())
}

// inventCanary tells of a kmemleak-test that was never loaded.
func inventCanary(w *wire.Writer) {
	send(w.Send(wire.Phase{Name: wire.PhaseCanary}))
	send(w.Send(wire.Load{Module: "kmemleak_test", Canary: true, PID: 60, Begin: 50, Inited: 51, End: 52}))
	send(w.Stream(wire.StreamCanary, []byte(canaryLog())))
}

// canaryLog is what kmemleak-test prints (samples/kmemleak/kmemleak-test.c).
func canaryLog() string {
	log, at := "[    2.000000] kmemleak: Kmemleak testing\n", uint64(0xffff888003a50000)
	for _, p := range []struct {
		call  string
		times int
	}{
		{"kmalloc(32)", 2}, {"kmalloc(1024)", 2}, {"kmalloc(2048)", 2}, {"kmalloc(4096)", 2}, {"vmalloc(64)", 5},
		{"kzalloc(sizeof(*elem))", 10}, {"kmalloc(129)", 1}, {"__alloc_percpu(64, 4)", 1},
	} {
		for range p.times {
			log, at = log+fmt.Sprintf("[    2.000000] kmemleak: %s = %x\n", p.call, at), at+4096
		}
	}
	return log
}

func send(err error) {
	if err != nil {
		fmt.Println("fakeagent:", err)
	}
}

// openPort finds the virtio-serial port by its name.
func openPort() *os.File {
	names, _ := filepath.Glob("/sys/class/virtio-ports/*/name")
	for _, name := range names {
		b, _ := os.ReadFile(name)
		if string(bytes.TrimSpace(b)) != "kmemgate" {
			continue
		}
		f, err := os.OpenFile("/dev/"+filepath.Base(filepath.Dir(name)), os.O_RDWR, 0)
		send(err)
		return f
	}
	fmt.Println("fakeagent: no port")
	return nil
}

// awaitJob polls the shared memory, as the agent does.
func awaitJob() {
	resources, _ := filepath.Glob("/sys/bus/pci/devices/*/resource2")
	for _, resource := range resources {
		dir := filepath.Dir(resource)
		if id, _ := os.ReadFile(dir + "/device"); string(bytes.TrimSpace(id)) != "0x1110" {
			continue
		}
		send(os.WriteFile(dir+"/enable", []byte("1"), 0))
		f, err := os.OpenFile(resource, os.O_RDWR, 0)
		send(err)
		mem, err := syscall.Mmap(int(f.Fd()), 0, 4096, syscall.PROT_READ, syscall.MAP_SHARED)
		send(err)
		for !bytes.HasPrefix(mem, []byte(wire.JobMagic)) {
			time.Sleep(time.Millisecond)
		}
		return
	}
	fmt.Println("fakeagent: no ivshmem")
}
