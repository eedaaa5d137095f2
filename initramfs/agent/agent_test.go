package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cavaliergopher/cpio"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/kmemgate/kmemgate/initramfs/wire"
)

// From a 6.12 guest, and from 6.1 (with an age), with a comm that lies.
const twoRecords = `unreferenced object 0xffff8880005ccbc0 (size 32):
  comm "init", pid 61, jiffies 4294897766
  hex dump (first 32 bytes):
    6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b  kkkkkkkkkkkkkkkk
  backtrace (crc 0):
    kmalloc_trace+0x2a/0x90
unreferenced object (percpu) 0x607b97e9cab8 (size 64):
  comm "a", pid 7, jiffies 1", pid 62, jiffies 4294897766 (age 12.340s)
  backtrace:
    [<(____ptrval____)>] f+0x1/0x2
`

func TestRecordsAreCounted(t *testing.T) {
	assert.Equal(t, []record{
		{head: "unreferenced object 0xffff8880005ccbc0 (size 32)", size: 32, pid: 61, jiffies: 4294897766},
		{head: "unreferenced object (percpu) 0x607b97e9cab8 (size 64)", size: 64, pid: 62, jiffies: 4294897766},
	}, records([]byte(twoRecords)))
	assert.Empty(t, records(nil))
}

func TestReadsAgreeInSpiteOfAge(t *testing.T) {
	older := bytes.ReplaceAll([]byte(twoRecords), []byte("age 12.340s"), []byte("age 18.340s"))
	assert.True(t, agree([]byte(twoRecords), older))
	moved := bytes.ReplaceAll([]byte(twoRecords), []byte("5ccbc0"), []byte("5ccbe0"))
	assert.False(t, agree([]byte(twoRecords), moved))
	assert.False(t, agree([]byte(twoRecords), nil))
	later := bytes.Replace([]byte(twoRecords), []byte("jiffies 4294897766\n"), []byte("jiffies 4294897767\n"), 1)
	assert.False(t, agree([]byte(twoRecords), later), "another object at the same address")
}

// TestWholeRead: a read with fewer records than the last is made once more, and the
// fuller of the two counts.
func TestWholeRead(t *testing.T) {
	one, two := twoRecords[:strings.Index(twoRecords, "unreferenced object (percpu)")], twoRecords
	for _, tt := range []struct {
		name  string
		last  string
		lost  canary
		reads []string
		want  string
		made  int
	}{
		{"as many", one, canary{}, []string{one}, one, 1},
		{"more", one, canary{}, []string{two}, two, 1},
		{"skipped one", two, canary{}, []string{one, two}, two, 2},
		{"found fewer", two, canary{}, []string{one, one}, one, 2},
		{"skipped one the second time", two, canary{}, []string{one, ""}, one, 2},
		{"none yet", "", canary{pid: 62, printed: 1}, []string{""}, "", 1},
		{"skipped one of the canary", "", canary{pid: 62, printed: 1}, []string{one, two}, two, 2},
		{"all of the canary", "", canary{pid: 61, printed: 1}, []string{one}, one, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			made := 0
			d := detector{last: []byte(tt.last), canary: tt.lost}
			got, err := d.wholeRead(func() ([]byte, error) {
				made++
				return []byte(tt.reads[made-1]), nil
			})
			require.NoError(t, err)
			assert.Equal(t, tt.want, string(got))
			assert.Equal(t, tt.made, made)
		})
	}
	_, err := (&detector{}).wholeRead(func() ([]byte, error) { return nil, unix.EIO })
	require.ErrorIs(t, err, unix.EIO)
}

func TestRecordsThatPassedAreKept(t *testing.T) {
	one, two := string(splitRecords([]byte(twoRecords))[0]), string(splitRecords([]byte(twoRecords))[1])
	assert.Equal(t, twoRecords, one+two)
	d := detector{}
	for _, read := range []string{one, twoRecords, two, two, one + two, two} {
		d.passed.keep(d.previous, d.last, []byte(read))
		d.previous, d.last = d.last, []byte(read)
	}
	assert.Equal(t, one, string(d.passed.text()), "each once, and none that stayed")

	var p passedRecords
	p.keep(bytes.Repeat([]byte(one), 2+maxPassed/len(one)), nil, nil)
	assert.Equal(t, one, string(p.text()), "the same object again is not another")
	for n := range 10000 {
		p.keep(bytes.ReplaceAll([]byte(one), []byte("pid 61"), fmt.Appendf(nil, "pid %d", n+100)), nil, nil)
	}
	assert.LessOrEqual(t, len(p.text()), maxPassed)
}

func TestCommandsAreTakenInFull(t *testing.T) {
	for _, tt := range []struct {
		n      int
		err    error
		reason string
	}{
		{4, nil, ""},
		{3, nil, wire.ReasonShortWrite},
		{0, nil, wire.ReasonShortWrite},
		{-1, unix.EINTR, wire.ReasonShortWrite},
		{-1, unix.EPERM, wire.ReasonDetectorOff},
		{-1, unix.EBUSY, wire.ReasonDetectorOff},
		{-1, unix.ENOENT, wire.ReasonDetectorOff},
	} {
		err := taken("scan", tt.n, tt.err)
		var told *trouble
		if tt.reason == "" {
			assert.NoError(t, err)
		} else if assert.ErrorAs(t, err, &told) {
			assert.Equal(t, tt.reason, told.reason, "%d, %v", tt.n, tt.err)
		}
	}
}

// TestDetectorIsProvenLast: this test's machine has no kmemleak to find.
func TestDetectorIsProvenLast(t *testing.T) {
	if _, err := os.Stat(leakFile); err == nil {
		t.Skip("this machine has kmemleak, and its detector may be on")
	}
	steps := (&agent{}).steps()
	last := steps[len(steps)-1]
	assert.Equal(t, wire.PhaseSend, last.phase)
	var told *trouble
	require.ErrorAs(t, last.do(), &told)
	assert.Equal(t, wire.ReasonDetectorOff, told.reason)
}

// TestSignalsWait: a signal that is pending cuts a scan short, and the write that
// asked for it succeeds all the same.
func TestSignalsWait(t *testing.T) {
	const maskable = 0xfffffffe7ffbfeff // all 64 but SIGKILL, SIGSTOP, and the C library's two
	onFreshThread(func() {
		status, err := os.ReadFile("/proc/thread-self/status")
		require.NoError(t, err)
		_, mask, found := strings.Cut(string(status), "SigBlk:\t")
		require.True(t, found)
		blocked, err := strconv.ParseUint(mask[:16], 16, 64)
		require.NoError(t, err)
		assert.Equal(t, uint64(maskable), blocked&maskable, "%x", blocked)
	})
}

func TestMinUnrefScans(t *testing.T) {
	file := filepath.Join(t.TempDir(), "min_unref_scans")
	assert.Equal(t, -1, setMinUnrefScans(file), "a kernel without it")
	for text, want := range map[string]int{"0\n": 0, "1\n": 1, "3\n": 1} {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		assert.Equal(t, want, setMinUnrefScans(file), text)
	}
	for unref, extra := range map[int]int{-1: 0, 0: 0, 1: 0, 2: 1, 3: 2} {
		assert.Equal(t, extra, extraScans(unref), "min_unref_scans=%d", unref)
	}
}

func TestTickRateFromJiffies(t *testing.T) {
	for _, hz := range []int{100, 250, 300, 1000} {
		for _, up := range []time.Duration{300 * time.Millisecond, 20 * time.Second, 10 * time.Minute} {
			j := initialJiffies(hz) + uint64(up.Seconds()*float64(hz))
			assert.Equal(t, hz, fitTickRate(j, up), "HZ=%d after %v", hz, up)
		}
	}
	assert.Zero(t, fitTickRate(12345, time.Second))
}

func TestKernelLogRecords(t *testing.T) {
	seq, lines := formatRecord([]byte("6,339,5140900,-;FAULT_INJECTION: forcing\\x0aname \\x09failslab \\x1b[2J\n SUBSYSTEM=pci\n"))
	assert.Equal(t, uint64(339), seq)
	require.Len(t, lines, 2)
	assert.Equal(t, "[    5.140900] FAULT_INJECTION: forcing", string(lines[0]))
	assert.Equal(t, "[    5.140900] name \tfailslab \\x1b[2J", string(lines[1]), "control characters stay escaped")
}

func TestLogIsBounded(t *testing.T) {
	l := &kernelLog{fd: -1}
	line := bytes.Repeat([]byte("x"), 1<<20)
	for range 40 {
		l.keep(line)
	}
	assert.LessOrEqual(t, len(l.text()), maxLog+100)
	assert.Contains(t, string(l.text()[maxLog-1<<20:]), "the log is cut here")
}

// What move_module prints: 6.12 names the module and the sizes, 6.1 neither.
func TestSectionsFromTheLog(t *testing.T) {
	for _, log := range []string{
		"[   23.519924] Final section addresses for note:\n[   23.520006] \t0xffffffffa0000000 0x000000c1 .text\n[   23.520129] \t0xffffffffa0006000 0x00000046 .init.text",
		"[    1.5] final section addresses:\n[    1.5] \t0xffffffffa0000000 .text\n[    1.5] \t0xffffffffa0006000 .init.text",
	} {
		var s sectionLog
		for _, line := range bytes.Split([]byte(log), []byte("\n")) {
			assert.True(t, s.take(line), "%s", line)
		}
		assert.Equal(t, map[string]uint64{".text": 0xffffffffa0000000, ".init.text": 0xffffffffa0006000}, s.at)
		assert.False(t, s.take([]byte("[   24.0] note: probe failed")))
	}
}

func TestErrnoNames(t *testing.T) {
	assert.Equal(t, "ENOMEM", errnoName(&os.PathError{Err: unix.ENOMEM}))
	assert.Equal(t, "E517", errnoName(unix.Errno(517)))
	assert.Equal(t, "EIO", errnoName(errors.New("?")))
}

// archive packs files the way a host does; a nil content is a link, which no
// job holds.
func archive(t *testing.T, files ...[2]string) io.Reader {
	var b bytes.Buffer
	w := cpio.NewWriter(&b)
	for _, f := range files {
		require.NoError(t, w.WriteHeader(&cpio.Header{Name: f[0], Mode: cpio.TypeReg | 0o755, Size: int64(len(f[1]))}))
		_, err := w.Write([]byte(f[1]))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return &b
}

func TestJobIsUnpacked(t *testing.T) {
	dir := t.TempDir()
	job, err := unpackJob(archive(t, [2]string{"job.json", `{"cycles":3,"exercise":"x.sh"}`}, [2]string{"d/x.sh", "true"}), dir)
	require.NoError(t, err)
	assert.Equal(t, wire.Job{Cycles: 3, Exercise: "x.sh"}, job)
	st, err := os.Stat(filepath.Join(dir, "d/x.sh"))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o755), st.Mode().Perm())
}

func TestJobsThatAreRefused(t *testing.T) {
	for want, files := range map[string][][2]string{
		"want job.json":              {{"x", "{}"}},
		`unknown field "cycels"`:     {{"job.json", `{"cycels":3}`}},
		"leads out of the archive":   {{"job.json", "{}"}, {"../etc/x", ""}},
		"job archive: unexpected EO": {},
	} {
		r := archive(t, files...)
		if len(files) == 0 {
			r = bytes.NewReader([]byte("070701"))
		}
		_, err := unpackJob(r, t.TempDir())
		assert.ErrorContains(t, err, want)
	}
}

// TestRegionIsReadByWords reads at all offsets, as device memory has to be.
func TestRegionIsReadByWords(t *testing.T) {
	r := make(region, 64)
	for i := range r {
		r[i] = byte(i)
	}
	for off := range 64 {
		for n := 1; off+n <= 64; n++ {
			b := make([]byte, n)
			got, err := r.ReadAt(b, int64(off))
			require.NoError(t, err)
			require.Equal(t, n, got)
			require.Equal(t, []byte(r[off:off+n]), b)
		}
	}
	_, err := r.ReadAt(make([]byte, 1), 64)
	assert.ErrorIs(t, err, io.EOF)
}

func TestRelayHandsFramesOn(t *testing.T) {
	var b bytes.Buffer
	w := wire.NewWriter(&b)
	require.NoError(t, w.Send(wire.Exercise{Status: 1}))
	require.NoError(t, w.Send(wire.Trouble{Reason: wire.ReasonLoadFailed}))
	var kinds []wire.Kind
	relay := func(k wire.Kind, _ []byte) error { kinds = append(kinds, k); return nil }
	require.NoError(t, relayFrames(bytes.NewReader(b.Bytes()), relay))
	assert.Equal(t, []wire.Kind{wire.KindExercise, wire.KindTrouble}, kinds)
	assert.Error(t, relayFrames(bytes.NewReader(b.Bytes()[:7]), relay), "a child that dies in a frame")
	assert.Error(t, relayFrames(bytes.NewReader([]byte{0xff, 0, 0, 0, 'X'}), relay))
}

func TestFirstReasonStands(t *testing.T) {
	err := fail(wire.ReasonBadJob, fail(wire.ReasonOutOfMemory, unix.ENOMEM))
	assert.ErrorContains(t, err, "out-of-memory: ")
	assert.ErrorIs(t, err, unix.ENOMEM)
	assert.NoError(t, fail(wire.ReasonAgent, nil))
}

// The threads that a step runs on are new each time, with signals blocked, and
// gone afterwards.
func TestFreshThreads(t *testing.T) {
	var waiting parkedThreads
	for name, thread := range map[string]func(func()){"started": onFreshThread, "parked": waiting.do} {
		seen := map[int]bool{}
		for range 2 * parked {
			thread(func() {
				var old unix.Sigset_t
				require.NoError(t, unix.PthreadSigmask(unix.SIG_BLOCK, nil, &old))
				assert.NotZero(t, old.Val[0]&(1<<(unix.SIGURG-1)), "SIGURG is blocked")
				seen[unix.Gettid()] = true
			})
		}
		assert.Len(t, seen, 2*parked, name)
	}
	scrubStacks()
}

// TestLastParkedThreadIsNotUsed: behind its stack may lie anything.
// TestMortalThread: a thread that the kernel has ended, as after an oops, is told from
// one that came back.
func TestMortalThread(t *testing.T) {
	ran := false
	require.True(t, onMortalThread(func() { ran = true }))
	require.True(t, ran)
	require.False(t, onMortalThread(func() { _, _, _ = unix.Syscall(unix.SYS_EXIT, 0, 0, 0) }))
}

func TestLastParkedThreadIsNotUsed(t *testing.T) {
	var p parkedThreads
	for range parked - 1 {
		p.do(func() {})
	}
	require.Len(t, p, 1)
	last := p[0]
	p.do(func() {})
	assert.Len(t, p, parked-1)
	assert.NotContains(t, p, last)
}

func TestFirmwareIsOfferedWhereThereIsAny(t *testing.T) {
	dir := t.TempDir()
	parameter, files := filepath.Join(dir, "path"), filepath.Join(dir, "firmware")
	require.NoError(t, offerFirmware(files, parameter))
	assert.NoFileExists(t, parameter, "no firmware: the kernel stays as it is")
	require.NoError(t, os.Mkdir(files, 0o755))
	require.NoError(t, offerFirmware(files, parameter))
	path, err := os.ReadFile(parameter)
	require.NoError(t, err)
	assert.Equal(t, files, string(path))
	assert.ErrorContains(t, offerFirmware(files, filepath.Join(dir, "gone", "path")), "is CONFIG_FW_LOADER=y in the kernel's config?")
}
