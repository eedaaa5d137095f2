package reports

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"
)

// The kinds of objects, as kmemleak prints them in a record's header (kernels
// from about 6.15; earlier ones print all under the plain header).
const (
	KindObject = "object"
	KindPercpu = "percpu"
	KindPhys   = "phys"
)

// Record is one "unreferenced object" of kmemleak, from its debugfs file or
// from dmesg. Records share memory with each other: treat them as read-only.
type Record struct {
	Line int    // of the header in what was parsed, from 1
	Raw  string // the record's lines, without the prefixes of a log

	Kind    string // KindObject, KindPercpu or KindPhys
	Address uint64
	Size    int64

	Comm    string // any bytes, up to 15 of them
	PID     int
	Jiffies uint64
	// Age is printed by kernels up to about 6.7; negative where it is not.
	Age time.Duration

	// Dump holds the object's first bytes; nil where there is no dump.
	Dump []byte
	// DumpCPU is the CPU whose copy of a percpu object was dumped; -1 where
	// the dump names none.
	DumpCPU int

	// CRC of the object's contents (not of its backtrace); HasCRC tells an
	// absent one from zero.
	CRC    uint32
	HasCRC bool

	Frames []RawFrame

	// More counts further objects with the same backtrace, which a log of
	// 2026 and later does not print one by one.
	More int
}

// RawFrame is one line of a backtrace as the kernel printed it when the file
// was read, which may be long after the object was allocated.
type RawFrame struct {
	// Addr is the return address; 0 where only a name was printed, or where
	// the address is hashed.
	Addr uint64
	// Hashed says that the pointer column holds a hash, not an address
	// ("[<00000000a1b2c3d4>]", "[<(____ptrval____)>]").
	Hashed bool
	// Pointer is the text of the pointer column; empty for bare frames.
	Pointer string

	Symbol string // empty where the kernel knew none
	Offset uint64
	Size   uint64
	Module string // as printed: the module loaded there at the time of the read
}

// noAge marks a record whose kernel prints no age.
const noAge time.Duration = -1

// Print writes records in the form of the debugfs file, each part in the
// variant it was read in, so that parsing the output gives the same records
// again (but for Line and Raw).
func Print(w io.Writer, records []Record) error {
	bw := bufio.NewWriter(w)
	for i := range records {
		printRecord(bw, &records[i])
	}
	if err := bw.Flush(); err != nil {
		return fmt.Errorf("print records: %w", err)
	}
	return nil
}

// String is the record as Print writes it.
func (r Record) String() string {
	var b strings.Builder
	bw := bufio.NewWriter(&b)
	printRecord(bw, &r)
	_ = bw.Flush() // a strings.Builder takes everything
	return b.String()
}

func printRecord(w *bufio.Writer, r *Record) {
	kind := ""
	if r.Kind != KindObject {
		kind = " (" + r.Kind + ")"
	}
	fmt.Fprintf(w, "unreferenced object%s 0x%08x (size %d):\n", kind, r.Address, r.Size)
	fmt.Fprintf(w, "  comm \"%s\", pid %d, jiffies %d%s\n", r.Comm, r.PID, r.Jiffies, printAge(r.Age))
	printDump(w, r)
	if r.HasCRC {
		fmt.Fprintf(w, "  backtrace (crc %x):\n", r.CRC)
	} else {
		fmt.Fprint(w, "  backtrace:\n")
	}
	for _, f := range r.Frames {
		fmt.Fprintf(w, "    %s\n", f)
	}
	if r.More > 0 {
		fmt.Fprintf(w, "  ... and %d more object(s) with the same backtrace\n", r.More)
	}
}

func printAge(age time.Duration) string {
	if age < 0 {
		return ""
	}
	return fmt.Sprintf(" (age %d.%03ds)", age/time.Second, age%time.Second/time.Millisecond)
}

func printDump(w *bufio.Writer, r *Record) {
	if r.Dump == nil {
		return
	}
	cpu := ""
	if r.DumpCPU >= 0 {
		cpu = fmt.Sprintf(" on cpu %d", r.DumpCPU)
	}
	fmt.Fprintf(w, "  hex dump (first %d bytes%s):\n", len(r.Dump), cpu)
	for rest := r.Dump; len(rest) > 0; {
		row := rest[:min(dumpRow, len(rest))]
		rest = rest[len(row):]
		// The ASCII column stands where a full row would end (lib/hexdump.c).
		fmt.Fprintf(w, "    %-*s  %s\n", 3*dumpRow-1, fmt.Sprintf("% x", row), ascii(row))
	}
}

func ascii(row []byte) string {
	out := make([]byte, len(row))
	for i, b := range row {
		out[i] = '.'
		if b >= 0x20 && b < 0x7f {
			out[i] = b
		}
	}
	return string(out)
}

// String is the frame as the kernel prints it.
func (f RawFrame) String() string {
	sym := fmt.Sprintf("%s+0x%x/0x%x", f.Symbol, f.Offset, f.Size)
	if f.Symbol == "" {
		sym = fmt.Sprintf("0x%x", f.Addr)
	}
	if f.Module != "" {
		sym += " [" + f.Module + "]"
	}
	if f.Pointer != "" {
		return "[<" + f.Pointer + ">] " + sym
	}
	return sym
}
