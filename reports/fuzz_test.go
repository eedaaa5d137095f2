package reports

import (
	"bytes"
	"strings"
	"testing"
)

// FuzzParse holds the parser against its own printer: what it read and printed
// it reads again as the same records, and a file has as many records as headers.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		plain612, aged61, percpu616, phys616, plain612 + aged61 + percpu616 + phys616,
		asLog(plain612+aged61, "[   12.345678] kmemleak: "), asLog(phys616, "<4>[   12.345678][   T71] kmemleak: ") + "[   13.0] x\n",
		asLog(plain612+"  ... and 7 more object(s) with the same backtrace\n", "kmemleak: "),
		"Linux version 6.1\n" + aged61 + "noise\n",
		"unreferenced object 0x0 (size 0):\n  comm \"a\nb\", pid -1, jiffies 0 (age 0.000s)\n  hex dump (first 0 bytes):\n  backtrace:\n    [<0>] 0x0\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		recs, err := parseAll(bytes.NewReader(text), "fuzz", FormatFile)
		if err == nil {
			if n := headers(string(text)); n != len(recs) {
				t.Fatalf("%d records of %d headers", len(recs), n)
			}
			roundTrip(t, recs)
		}
		if recs, err = ParseKmemleak(bytes.NewReader(text), "fuzz"); err == nil {
			roundTrip(t, recs)
		}
	})
}

// headers counts the lines that begin a record, but for those that are part of
// a command's name.
func headers(text string) int {
	n, inComm := 0, false
	for line := range strings.Lines(text) {
		if !inComm && strings.HasPrefix(line, headerStart) {
			n++
		}
		if strings.HasPrefix(line, `  comm "`) || inComm {
			inComm = !strings.Contains(line, `", pid `)
		}
	}
	return n
}

func roundTrip(t *testing.T, recs []Record) {
	t.Helper()
	var out bytes.Buffer
	if err := Print(&out, recs); err != nil {
		t.Fatal(err)
	}
	again, err := parseAll(&out, "printed", FormatFile)
	if err != nil {
		t.Fatalf("printed text does not parse: %v\n%s", err, recs[0])
	}
	if len(again) != len(recs) {
		t.Fatalf("%d records printed, %d read", len(recs), len(again))
	}
	for i := range recs {
		want, got := recs[i], again[i]
		want.Line, want.Raw, got.Line, got.Raw = 0, "", 0, ""
		if !sameRecord(want, got) {
			t.Fatalf("record %d:\n%#v\nread again:\n%#v", i, want, got)
		}
	}
}

func sameRecord(a, b Record) bool {
	if len(a.Frames) != len(b.Frames) || (a.Dump == nil) != (b.Dump == nil) || !bytes.Equal(a.Dump, b.Dump) {
		return false
	}
	for i := range a.Frames {
		if a.Frames[i] != b.Frames[i] {
			return false
		}
	}
	a.Frames, a.Dump, b.Frames, b.Dump = nil, nil, nil, nil
	return a.Kind == b.Kind && a.Address == b.Address && a.Size == b.Size && a.Comm == b.Comm && a.PID == b.PID && a.Jiffies == b.Jiffies &&
		a.Age == b.Age && a.DumpCPU == b.DumpCPU && a.CRC == b.CRC && a.HasCRC == b.HasCRC && a.More == b.More
}
