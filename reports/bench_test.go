package reports

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const bigRecords = 100_000

// bigFile is 60 MB of records as a leaking driver makes them, or, where every
// backtrace is one of its own, as nobody but a hostile guest does.
func bigFile(distinct bool) []byte {
	var b bytes.Buffer
	for i := range bigRecords {
		fmt.Fprintf(&b, "unreferenced object 0xffff8880%08x (size 128):\n  comm \"insmod\", pid %d, jiffies %d\n  hex dump (first 32 bytes):\n", i*128, i%1000, 4294667601+i)
		b.WriteString("    6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b  kkkkkkkkkkkkkkkk\n    6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b a5  kkkkkkkkkkkkkkk.\n")
		fmt.Fprintf(&b, "  backtrace (crc %x):\n", i)
		n := i % 7
		if distinct {
			n = i
		}
		for k := range 9 {
			fmt.Fprintf(&b, "    function_number_%d+0x%x/0x300 [module]\n", k, n)
		}
	}
	return b.Bytes()
}

// TestBigFile holds the parser to its promise: 100,000 records in less than 2 s
// and 300 MB. The seconds are the processor's, the collector's among them, as a
// busy machine takes longer by the clock.
func TestBigFile(t *testing.T) {
	if testing.Short() {
		t.Skip("needs some seconds")
	}
	for _, distinct := range []bool{false, true} {
		text := bigFile(distinct)
		require.Greater(t, len(text), 50<<20)
		took, allocated := parseBig(t, text)
		t.Logf("distinct backtraces: %v: %v of the processor, %d MB allocated in all", distinct, took, allocated>>20)
		assert.Less(t, allocated, uint64(300<<20), "all that was ever allocated, freed or not")
		if !raceDetector {
			assert.Less(t, took, 2*time.Second)
		}
	}
}

func parseBig(t *testing.T, text []byte) (took time.Duration, allocated uint64) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	start := processorTime(t)
	recs, err := ParseKmemleak(bytes.NewReader(text), "big")
	took = processorTime(t) - start
	runtime.ReadMemStats(&after)
	require.NoError(t, err)
	assert.Len(t, recs, bigRecords)
	return took, after.TotalAlloc - before.TotalAlloc
}

// processorTime is what all threads of this process have computed, in user mode
// and in the kernel.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var use syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &use))
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// TestLogIsNotKept: what a log's records hold is their own text, and not the log
// that a few bytes of each were cut out of.
func TestLogIsNotKept(t *testing.T) {
	var log bytes.Buffer
	for range 10_000 {
		for line := range strings.Lines(plain612) {
			log.WriteString("[   12.345678][   T71] kmemleak: " + line)
		}
	}
	before := liveHeap()
	recs, err := ParseKmemleak(bytes.NewReader(log.Bytes()), "log")
	require.NoError(t, err)
	kept := liveHeap() - before
	require.Len(t, recs, 10_000)
	own := 0
	for i := range recs {
		own += len(recs[i].Raw) + int(unsafe.Sizeof(recs[i]))
	}
	assert.Less(t, int(kept), own*3/2)
	runtime.KeepAlive(recs)
	runtime.KeepAlive(&log)
}

func liveHeap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestStreamKeepsNothing: who takes records one by one needs no memory for all.
func TestStreamKeepsNothing(t *testing.T) {
	one := strings.Repeat(plain612, 100)
	n := 0
	allocs := testing.AllocsPerRun(3, func() {
		for rec, err := range Records(strings.NewReader(one), "x", FormatFile) {
			require.NoError(t, err)
			n += len(rec.Frames)
		}
	})
	assert.Equal(t, 4*100*3, n)
	assert.Less(t, allocs, 900.0, "nine for a record")
}

func BenchmarkParse(b *testing.B) {
	text := bigFile(false)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		for _, err := range Records(bytes.NewReader(text), "big", FormatFile) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}
