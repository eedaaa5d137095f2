package main

import (
	"bytes"
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// maxLog bounds what is kept of the kernel's log: a WARN in a loop must not
// eat the guest's memory.
const maxLog = 16 << 20

// kernelLog gathers the kernel's log from /dev/kmsg. The kernel's own buffer
// is a ring of 128 KiB; drained at every step, nothing of a noisy run is lost,
// and what is lost all the same is said.
type kernelLog struct {
	fd   int
	next uint64 // sequence number of the first message not yet seen
	buf  bytes.Buffer
	full bool
}

// openKernelLog reads from the oldest message there is. The open file has 4 KiB
// of memory in the kernel, not zeroed before init_on_alloc: the free-list
// pointer in it hid one of the canary's orphans, until occupySlabs took the
// object that it leads to.
func openKernelLog() *kernelLog {
	fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		fd = -1
	}
	return &kernelLog{fd: fd}
}

// drain takes what the kernel has said since.
func (l *kernelLog) drain() { l.each(l.keep) }

// skip lets everything said so far go by.
func (l *kernelLog) skip() { _, _ = unix.Seek(l.fd, 0, unix.SEEK_END) }

// each calls f for every message since the last call. The reading is done on a
// thread of its own, the calls on this one.
func (l *kernelLog) each(f func(line []byte)) {
	var records [][]byte
	onFreshThread(func() { records = readRecords(l.fd) })
	for _, r := range records {
		seq, lines := formatRecord(r)
		if seq > l.next && l.next > 0 {
			f(fmt.Appendf(nil, "kmemgate: %d kernel messages were lost here", seq-l.next))
		}
		l.next = seq + 1
		for _, line := range lines {
			f(line)
		}
	}
}

// readRecords reads all there is.
func readRecords(fd int) [][]byte {
	var records [][]byte
	record := make([]byte, 9<<10) // a record is 8 KiB at most (CONSOLE_EXT_LOG_MAX)
	for {
		n, err := unix.Read(fd, record)
		switch err {
		case nil:
			records = append(records, bytes.Clone(record[:n]))
		case unix.EPIPE, unix.EINTR: // overwritten meanwhile: the numbers tell
		default: // EAGAIN: no more
			return records
		}
	}
}

func (l *kernelLog) keep(line []byte) {
	if l.buf.Len()+len(line) > maxLog {
		if !l.full {
			fmt.Fprintf(&l.buf, "kmemgate: the log is cut here, at %d bytes\n", maxLog)
		}
		l.full = true
		return
	}
	l.buf.Write(line)
	l.buf.WriteByte('\n')
}

// text is everything gathered, as dmesg prints it.
func (l *kernelLog) text() []byte { return l.buf.Bytes() }

// formatRecord makes lines of dmesg of a record of /dev/kmsg, and returns its
// sequence number: "6,339,5140900,-;one\x0atwo\n SUBSYSTEM=pci\n" is number 339,
// "[    5.140900] one" and "[    5.140900] two".
func formatRecord(r []byte) (seq uint64, lines [][]byte) {
	head, text, found := bytes.Cut(r, []byte(";"))
	fields := bytes.Split(head, []byte(","))
	if !found || len(fields) < 3 {
		return 0, [][]byte{bytes.TrimRight(r, "\n")}
	}
	text, _, _ = bytes.Cut(text, []byte("\n")) // a dictionary follows
	seq, _ = strconv.ParseUint(string(fields[1]), 10, 64)
	us, _ := strconv.ParseUint(string(fields[2]), 10, 64)
	for part := range bytes.SplitSeq(text, []byte(`\x0a`)) {
		line := fmt.Appendf(nil, "[%5d.%06d] ", us/1e6, us%1e6)
		lines = append(lines, append(line, unescape(part)...))
	}
	return seq, lines
}

// unescape undoes the \x09 that the kernel writes for bytes that it deems
// unprintable (kernel/printk/printk.c, msg_add_ext_text). Control characters
// stay escaped: the log is shown on terminals.
func unescape(s []byte) []byte {
	var out []byte
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && s[i+1] == 'x' {
			c, err := strconv.ParseUint(string(s[i+2:i+4]), 16, 8)
			if err == nil && (c >= ' ' || c == '\t') && c != 0x7f {
				out = append(out, byte(c))
				i += 3
				continue
			}
		}
		out = append(out, s[i])
	}
	return out
}

// mark writes a line of ours into the kernel's log. Without its newline the
// record would stay open, and show up in the log of whoever reads next.
func mark(format string, args ...any) {
	_, _ = writeFile("/dev/kmsg", fmt.Sprintf("<5>kmemgate: "+format+"\n", args...))
}
