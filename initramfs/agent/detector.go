package main

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kmemgate/kmemgate/initramfs/wire"
)

const (
	leakFile  = debugfs + "/kmemleak"
	unrefFile = "/sys/module/kmemleak/parameters/min_unref_scans"
)

// detector is kmemleak's file and the last two reads of it.
type detector struct {
	canary         canary
	previous, last []byte
	passed         passedRecords // of the reads before those
	threads        parkedThreads // that scan
	uncollected    int           // bytes that reads took since the last collection
	scans          int
	unref          int // min_unref_scans; -1 where the kernel has none
}

// canary is who leaked on purpose, and how many objects.
type canary struct{ pid, printed int }

// found counts its records in a read.
func (c canary) found(text []byte) int {
	n := 0
	for _, r := range records(text) {
		if r.pid == c.pid {
			n++
		}
	}
	return n
}

// whole is the cheap half of the host's check: as many records of the canary's pid
// as it printed addresses.
func (c canary) whole(text []byte) bool { return c.found(text) >= c.printed }

// command writes one command. Each counts only when it was taken in full: a
// detector that is off answers EPERM (EBUSY up to 4.19).
func (d *detector) command(cmd string) error { return commandOn(onFreshThread, cmd) }

func commandOn(thread func(func()), cmd string) error {
	var n int
	var err error
	thread(func() { n, err = writeFile(leakFile, cmd) })
	return taken(cmd, n, err)
}

// taken tells from the outcome of its write whether a command was taken in full.
func taken(cmd string, n int, err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EBUSY):
		return fail(wire.ReasonDetectorOff, fmt.Errorf("kmemleak refused %q: %w: the detector is off (dmesg says why)", cmd, err))
	case errors.Is(err, unix.ENOENT):
		return fail(wire.ReasonDetectorOff, fmt.Errorf("%s: %w: the kernel has no kmemleak", leakFile, err))
	case err != nil:
		return fail(wire.ReasonShortWrite, fmt.Errorf("kmemleak %q: %w", cmd, err))
	case n != len(cmd):
		return fail(wire.ReasonShortWrite, fmt.Errorf("kmemleak %q: %d of %d bytes taken", cmd, n, len(cmd)))
	}
	return nil
}

// prove shows that the detector is alive. scan=off changes nothing when the
// thread is off already, and is refused by a dead detector.
func (d *detector) prove() error { return d.command("scan=off") }

// quietTime is between a scan and the read of it. The kernel hands out a few records
// a read, and finds the next one by how many objects are in front of it: one that is
// freed meanwhile, as those of the thread that has scanned are, makes it skip records.
const quietTime = 200 * time.Millisecond

// scan makes one scan, reads the file, and keeps the read before it.
func (d *detector) scan() (wire.Scan, error) {
	d.collect()
	begin := uptime()
	if err := commandOn(d.threads.do, "scan"); err != nil {
		return wire.Scan{}, err
	}
	took := uptime() - begin
	sleep(quietTime)
	text, err := d.wholeRead(d.read)
	if err != nil {
		return wire.Scan{}, err
	}
	d.passed.keep(d.previous, d.last, text)
	d.previous, d.last = d.last, text
	d.scans++
	return wire.Scan{N: d.scans, Jiffies: jiffies(), Bytes: len(text), Records: len(records(text)), TookNS: int64(took)}, nil
}

// maxUncollected is how much reads may take before a collection. It costs, for its code
// is translated by each clone anew, and most reads are of some kilobytes.
const maxUncollected = 8 << 20

// collect frees what reads, of up to 64 MiB each, have left behind: those before the
// last two, and the smaller copies that each has outgrown.
func (d *detector) collect() {
	if d.uncollected > maxUncollected {
		runtime.GC()
		d.uncollected = 0
	}
}

// wholeRead reads once more where a read lacks records: it has fewer than the last, or
// some of the canary but not all. Either the scan found no more, or quietTime was not
// enough (two of 25 were skipped on 6.12; no word of memory led to their objects). What
// a second read has that the first had not, the scan has found.
func (d *detector) wholeRead(read func() ([]byte, error)) ([]byte, error) {
	text, err := read()
	if err != nil || len(records(text)) >= len(records(d.last)) && (len(text) == 0 || d.canary.whole(text)) {
		return text, err
	}
	again, err := read()
	if err != nil || len(records(again)) < len(records(text)) {
		return text, err
	}
	return again, nil
}

// read takes the whole file in one go. A read that the host would refuse for
// its size is refused here, with a reason.
func (d *detector) read() ([]byte, error) {
	var text []byte
	var err error
	onFreshThread(func() { text, err = readToEOF(leakFile, 256<<10, wire.MaxStream) })
	if err != nil {
		return nil, fail(wire.ReasonAgent, fmt.Errorf("read kmemleak: %w", err))
	}
	d.uncollected += cap(text)
	return text, nil
}

// setMinUnrefScans asks for reports after one scan without a reference, and
// tells what the kernel then has; -1 where it has no such file. Kernels from
// 7.x want up to three.
func setMinUnrefScans(file string) int {
	read := func() int {
		b, err := readFile(file)
		if err != nil {
			return -1
		}
		n, err := strconv.Atoi(strings.TrimSpace(string(b)))
		if err != nil {
			return -1
		}
		return n
	}
	if n := read(); n <= 1 {
		return n
	}
	_, _ = writeFile(file, "1") // read back below: that is the check
	return read()
}

// record is the head of one record. The address stays text.
type record struct {
	head string // "unreferenced object 0xffff888003c3ba80 (size 32)"
	size int64
	pid  int

	jiffies int64
}

var objectWord = []byte("unreferenced object")

// records lists the heads of a read. The host's parser is the strict one; this
// one counts, to tell when reads agree.
func records(text []byte) []record {
	var list []record
	for line := range bytes.Lines(text) {
		switch {
		case bytes.HasPrefix(line, objectWord):
			head := strings.TrimRight(string(line), ":\n ")
			list = append(list, record{head: head, size: between(head, "(size ", ")")})
		case len(list) > 0 && list[len(list)-1].pid == 0 && bytes.HasPrefix(line, []byte("  comm \"")):
			// The name may hold anything: the pid stands behind its last ", pid ".
			if i := bytes.LastIndex(line, []byte("\", pid ")); i >= 0 {
				said := string(line[i:])
				list[len(list)-1].pid = int(between(said, "\", pid ", ","))
				list[len(list)-1].jiffies = between(strings.TrimRight(said, "\n"), ", jiffies ", " ")
			}
		}
	}
	return list
}

func between(s, left, right string) int64 {
	_, s, _ = strings.Cut(s, left)
	s, _, _ = strings.Cut(s, right)
	n, _ := strconv.ParseInt(s, 10, 64)
	return n
}

// agree tells whether two reads hold the same objects. The texts may differ
// all the same: kernels up to 6.7 print each object's age.
func agree(a, b []byte) bool {
	x, y := records(a), records(b)
	if len(x) != len(y) {
		return false
	}
	for i := range x {
		if x[i] != y[i] {
			return false
		}
	}
	return true
}
