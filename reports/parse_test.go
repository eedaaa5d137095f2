package reports

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A record with each part in one variant; the parts mix freely in the field.
const (
	plain612 = `unreferenced object 0xffff888003a5c0e0 (size 32):
  comm "insmod", pid 71, jiffies 4294667601
  hex dump (first 32 bytes):
    6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b  kkkkkkkkkkkkkkkk
    6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b a5  kkkkkkkkkkkkkkk.
  backtrace (crc 4e9ad2ff):
    __kmalloc_cache_noprof+0x2a3/0x340
    0xffffffffa0005033
    do_one_initcall+0x5b/0x300
`
	aged61 = `unreferenced object 0xffff888003a5c0e0 (size 5):
  comm "kworker/u2:1", pid 9, jiffies 4294667601 (age 12.040s)
  hex dump (first 5 bytes):
    68 65 6c 6c 6f                                   hello
  backtrace:
    [<00000000a1b2c3d4>] kstrdup+0x35/0x70
    [<(____ptrval____)>] leak.constprop.0+0x1c/0x40 [foo]
    [<ffffffffa0005033>] 0xffffffffa0005033
`
	percpu616 = `unreferenced object (percpu) 0x607b97e9cab8 (size 64):
  comm "a", pid 1", pid 7, jiffies 12
  hex dump (first 16 bytes on cpu 0):
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00  ................
  backtrace (crc 0):
`
	phys616 = "unreferenced object (phys) 0x7e6f0000 (size 4096):\n  comm \"swapper/0\", pid 0, jiffies 4294892296\n  backtrace (crc 0):\n    memblock_alloc_range_nid+0x1/0x2\n"
)

func TestParseVariants(t *testing.T) {
	recs, err := ParseKmemleak(strings.NewReader(plain612+aged61+percpu616+phys616), "x.txt")
	require.NoError(t, err)
	require.Len(t, recs, 4)

	assert.Equal(t, KindObject, recs[0].Kind)
	assert.Equal(t, uint64(0xffff888003a5c0e0), recs[0].Address)
	assert.Equal(t, int64(32), recs[0].Size)
	assert.Equal(t, "insmod", recs[0].Comm)
	assert.Equal(t, 71, recs[0].PID)
	assert.Equal(t, uint64(4294667601), recs[0].Jiffies)
	assert.Equal(t, noAge, recs[0].Age)
	assert.Len(t, recs[0].Dump, 32)
	assert.Equal(t, byte(0xa5), recs[0].Dump[31])
	assert.Equal(t, uint32(0x4e9ad2ff), recs[0].CRC)
	assert.Equal(t, []RawFrame{
		{Symbol: "__kmalloc_cache_noprof", Offset: 0x2a3, Size: 0x340},
		{Addr: 0xffffffffa0005033},
		{Symbol: "do_one_initcall", Offset: 0x5b, Size: 0x300},
	}, recs[0].Frames)
	assert.Equal(t, plain612, recs[0].Raw)

	assert.Equal(t, 12*time.Second+40*time.Millisecond, recs[1].Age)
	assert.Equal(t, 10, recs[1].Line)
	assert.Equal(t, []byte("hello"), recs[1].Dump)
	assert.False(t, recs[1].HasCRC)
	assert.Equal(t, []RawFrame{
		{Pointer: "00000000a1b2c3d4", Hashed: true, Symbol: "kstrdup", Offset: 0x35, Size: 0x70},
		{Pointer: "(____ptrval____)", Hashed: true, Symbol: "leak.constprop.0", Offset: 0x1c, Size: 0x40, Module: "foo"},
		{Pointer: "ffffffffa0005033", Addr: 0xffffffffa0005033},
	}, recs[1].Frames)

	assert.Equal(t, KindPercpu, recs[2].Kind)
	assert.Equal(t, `a", pid 1`, recs[2].Comm, "the last \", pid counts")
	assert.Equal(t, 0, recs[2].DumpCPU)
	assert.Empty(t, recs[2].Frames)
	assert.Equal(t, KindPhys, recs[3].Kind)
	assert.Nil(t, recs[3].Dump)
}

func TestPrintIsWhatTheKernelPrints(t *testing.T) {
	for _, text := range []string{plain612, aged61, percpu616} {
		recs, err := ParseKmemleak(strings.NewReader(text), "x.txt")
		require.NoError(t, err)
		assert.Equal(t, text, recs[0].String())
	}
}

// asLog puts a log's marks before each line.
func asLog(text, mark string) string {
	var b strings.Builder
	for l := range strings.Lines(text) {
		b.WriteString(mark + l)
	}
	return b.String()
}

func TestParseLog(t *testing.T) {
	want, err := ParseKmemleak(strings.NewReader(plain612), "x.txt")
	require.NoError(t, err)
	for _, mark := range []string{
		"kmemleak: ", "[   12.345678] kmemleak: ", "<4>[   12.345678][   T71] kmemleak: ", "<6>kmemleak: ", "[    1.000000][    C0] kmemleak: ",
	} {
		text := "[    0.000000] Linux version 6.12\n" + asLog(plain612, mark) + "[   13.0] other: message\n" + mark + "1 new suspected memory leaks (see /sys/kernel/debug/kmemleak)\n"
		recs, err := ParseKmemleak(strings.NewReader(text), "dmesg.txt")
		require.NoError(t, err, mark)
		require.Len(t, recs, 1, mark)
		recs[0].Line = want[0].Line
		assert.Equal(t, want, recs, mark)
	}
}

func TestParseLogWithStrangersBetween(t *testing.T) {
	text := asLog(plain612, "[   12.345678] kmemleak: ")
	text = strings.Replace(text, "[   12.345678] kmemleak:     6b", "[   12.345679] usb 1-1: new device\n[   12.345678] kmemleak:     6b", 1)
	text += "[   12.4] kmemleak:   ... and 7 more object(s) with the same backtrace\r\n[   12.5]  foo+0x1/0x2\n"
	recs, err := ParseKmemleak(strings.NewReader(text), "dmesg.txt")
	require.NoError(t, err)
	require.Len(t, recs, 1)
	assert.Len(t, recs[0].Dump, 32)
	assert.Len(t, recs[0].Frames, 3)
	assert.Equal(t, 7, recs[0].More)
}

// TestParseLogCutAtItsStart: the kernel's log is a ring, and the first record
// in it may have lost its header.
func TestParseLogCutAtItsStart(t *testing.T) {
	_, tail, _ := strings.Cut(asLog(plain612, "[   12.345678] kmemleak: "), "\n")
	recs, err := ParseKmemleak(strings.NewReader(tail+asLog(aged61, "[   12.345678] kmemleak: ")), "dmesg.txt")
	require.NoError(t, err)
	assert.Len(t, recs, 1)
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"foreign line", "hello\n", `x.txt:1: "hello": want "unreferenced object[`},
		{"between records", plain612 + "\n" + aged61, `x.txt:10: "": want "unreferenced object`},
		{"no size", "unreferenced object 0xffff88 (size x):\n", `x.txt:1: "unreferenced object 0xffff88 (size x):": want a decimal size`},
		{"address", "unreferenced object ffff88 (size 1):\n", "want a hex address"},
		{"only a header", "unreferenced object 0xffff88 (size 1):\n", `x.txt:1: "end of file": want   comm`},
		{"pid", strings.Replace(plain612, "pid 71", "pid x", 1), "x.txt:2:"},
		{"age", strings.Replace(aged61, "12.040s", "12.04s", 1), `want " (age 12.345s)" at the end`},
		{"short row", strings.Replace(plain612, " a5  k", "  k", 1), "x.txt:5:"},
		{"missing row", strings.Replace(plain612, "    6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b a5  kkkkkkkkkkkkkkk.\n", "", 1), "x.txt:5:"},
		{"dump too long", strings.Replace(plain612, "first 32", "first 999", 1), "want at most 256 bytes"},
		{"no backtrace line", strings.Replace(plain612, "  backtrace (crc 4e9ad2ff):\n", "", 1), "x.txt:6:"},
		{"frame", strings.Replace(aged61, "[<00000000a1b2c3d4>]", "[<zz>]", 1), `x.txt:6: "    [<zz>] kstrdup+0x35/0x70": want`},
		{"too many frames", plain612 + strings.Repeat("    f+0x1/0x2\n", 64), "want at most 64 frames"},
		{"long line", "unreferenced object" + strings.Repeat(" ", 70000), "want a line of at most 4096 bytes"},
		{"orphaned lines in a log", asLog(plain612, "kmemleak: ") + "kmemleak:   comm \"x\", pid 1, jiffies 2\n", "want a record's header before it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			recs, err := ParseKmemleak(strings.NewReader(c.text), "x.txt")
			assert.ErrorContains(t, err, c.want)
			assert.Nil(t, recs)
		})
	}
}

func TestParseFileMustEndWithANewline(t *testing.T) {
	_, err := parseAll(strings.NewReader(strings.TrimSuffix(plain612, "0\n")), "last.txt", FormatFile)
	assert.ErrorContains(t, err, "the text is cut")
	recs, err := ParseKmemleak(strings.NewReader(strings.TrimSuffix(plain612, "\n")), "pasted")
	require.NoError(t, err)
	assert.Len(t, recs[0].Frames, 3)
}

// TestCommOfAnyBytes: a task may name itself with newlines and quotes.
func TestCommOfAnyBytes(t *testing.T) {
	text := strings.Replace(plain612, `"insmod"`, "\"a\nb\", \"\x01\"", 1)
	recs, err := ParseKmemleak(strings.NewReader(text), "x.txt")
	require.NoError(t, err)
	assert.Equal(t, "a\nb\", \"\x01", recs[0].Comm)
}
