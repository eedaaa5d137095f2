package harness

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/kernels"
	"github.com/kmemgate/kmemgate/reports"
)

// testHost has a cache and a folder of its own.
func testHost(t testing.TB) *Host {
	t.Helper()
	h := &Host{Temp: t.TempDir(), Cache: &kernels.Cache{Dir: t.TempDir()}, Log: t.Logf, Jobs: 4}
	t.Cleanup(h.Close)
	return h
}

// TestTemplate makes a template once and runs clones of it, side by side:
// each finds every orphan of the canary and of the module, and all say and
// print the same, to the byte.
func TestTemplate(t *testing.T) {
	for _, arch := range []string{"x86_64", "arm64"} {
		t.Run(arch, func(t *testing.T) {
			m, h := testMachine(t, arch), testHost(t)
			tmpl, err := h.Template(t.Context(), m)
			require.NoError(t, err)
			require.Empty(t, tmpl.info.Cold)
			assert.Less(t, tmpl.info.Bytes, int64(60<<20), "disk space of a template")
			job := canaryJob(t, m)
			captures := make([]*reports.Capture, 4)
			var wg sync.WaitGroup
			for i := range captures {
				wg.Go(func() {
					c, err := tmpl.Run(t.Context(), job, RunOptions{OutDir: t.TempDir()})
					assert.NoError(t, err)
					captures[i] = c
				})
			}
			wg.Wait()
			for _, c := range captures {
				require.Empty(t, c.Reason, c.Detail)
				assert.Equal(t, "clone", c.Boot)
				assert.Empty(t, c.BootNote)
				assertOrphans(t, c)
				assert.Equal(t, string(captures[0].Last), string(c.Last), "kmemleak.txt")
				assert.Equal(t, string(captures[0].Console), string(c.Console), "console.log")
				assert.Equal(t, string(captures[0].Dmesg), string(c.Dmesg), "dmesg.txt")
			}
			h.Close()
			assertNothingLeft(t, h.Temp)
		})
	}
}

// assertOrphans wants every address that kmemleak-test printed, at both of its
// loads, among the records. The percpu object is the only one whose record
// shows another address than the module does.
func assertOrphans(t testing.TB, c *reports.Capture) {
	t.Helper()
	require.NotEmpty(t, c.Canary.Addresses)
	require.Len(t, c.Loads, 2)
	assert.True(t, c.Loads[0].Canary)
	assert.True(t, c.Loads[1].UnderTest)
	want := 2 * len(c.Canary.Addresses)
	assert.Equal(t, want, bytes.Count(c.Last, []byte("unreferenced object")), "orphans of both loads")
	for _, line := range strings.Split(string(c.Dmesg), "\n") {
		if _, addr, ok := strings.Cut(line, ") = "); ok && strings.HasPrefix(addr, "ffff") {
			assert.Contains(t, string(c.Last), "0x"+addr+" (size")
		}
	}
}

// TestTemplateIsShared asks for one template from several sides at once,
// then from another process's host: it is booted once.
func TestTemplateIsShared(t *testing.T) {
	m, h := fakeMachine(t, "arm64", "done"), testHost(t)
	var log lines
	h.Log = log.add
	run := func(host *Host) {
		tmpl, err := host.Template(t.Context(), m)
		if !assert.NoError(t, err) {
			return
		}
		c, err := tmpl.Run(t.Context(), emptyJob(t), RunOptions{})
		if assert.NoError(t, err) {
			assert.Empty(t, c.Reason, c.Detail)
			assert.Equal(t, "unreferenced object\n", string(c.Last))
		}
	}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { run(h) })
	}
	wg.Wait()
	other := &Host{Temp: h.Temp, Cache: h.Cache, Log: h.Log} // as another process
	defer other.Close()
	run(other)
	assert.Equal(t, 1, log.count("template: booting"))
}

// TestDamagedTemplate changes a byte of the saved memory: the template is made
// anew.
func TestDamagedTemplate(t *testing.T) {
	m, h := fakeMachine(t, "arm64", "done"), testHost(t)
	tmpl, err := h.Template(t.Context(), m)
	require.NoError(t, err)
	ram := filepath.Join(tmpl.dir, fileRAM)
	h.Close()
	f, err := os.OpenFile(ram, os.O_RDWR, 0)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte("damage"), 1<<20)
	require.NoError(t, err)
	require.NoError(t, f.Close())

	again, err := h.Template(t.Context(), m)
	require.NoError(t, err)
	b := make([]byte, 6)
	f, err = os.Open(filepath.Join(again.dir, fileRAM))
	require.NoError(t, err)
	defer f.Close()
	_, err = f.ReadAt(b, 1<<20)
	require.NoError(t, err)
	assert.NotEqual(t, "damage", string(b))
}

// spoil makes a template's state worthless, and its manifest sees nothing of it: as
// where it was worthless when it was made.
func spoil(t *testing.T, dir string) {
	t.Helper()
	state := filepath.Join(dir, fileState)
	info, err := os.Stat(state)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(state, bytes.Repeat([]byte{0xff}, int(info.Size())), 0o644))
	require.NoError(t, os.Chtimes(state, info.ModTime(), info.ModTime()))
	quickSums := regexp.MustCompile(`(?m)^([0-9a-f]{64})\+[0-9a-f]{8} `)
	manifest := readFile(t, dir+".ok")
	require.Regexp(t, quickSums, string(manifest))
	require.NoError(t, os.WriteFile(dir+".ok", quickSums.ReplaceAll(manifest, []byte("$1 ")), 0o644))
}

// TestUnrestorable spoils the state of a template in the cache: of the runs that
// meet it one makes it again, all are clones, and the next process finds it whole.
func TestUnrestorable(t *testing.T) {
	m, h := fakeMachine(t, "arm64", "done"), testHost(t)
	var log lines
	h.Log = log.add
	tmpl, err := h.Template(t.Context(), m)
	require.NoError(t, err)
	spoil(t, tmpl.dir)
	h.Close()
	for _, want := range []int{2, 2} { // boots of a template, the first included
		next := &Host{Temp: h.Temp, Cache: h.Cache, Log: h.Log, Jobs: 3}
		tmpl, err = next.Template(t.Context(), m)
		require.NoError(t, err)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { wantClone(t, tmpl) })
		}
		wg.Wait()
		wantClone(t, tmpl)
		next.Close()
		assert.Equal(t, want, log.count("template: booting"), &log)
	}
	assert.Equal(t, 1, log.count("making it again"), &log)
	assertNothingLeft(t, h.Temp)
}

// wantClone runs a clone that has nothing to tell of.
func wantClone(t *testing.T, tmpl *Template) {
	c, err := tmpl.Run(t.Context(), emptyJob(t), RunOptions{})
	if assert.NoError(t, err) {
		assert.Equal(t, []string{"clone", "", ""}, []string{c.Boot, c.BootNote, c.Reason}, c.Detail)
	}
}

// spoiling is a cache whose templates are worthless whenever they are made.
type spoiling struct {
	Cache
	t *testing.T
}

func (s spoiling) Entry(ctx context.Context, kind, key string, fill func(context.Context, string) error) (string, func(), error) {
	dir, release, err := s.Cache.Entry(ctx, kind, key, fill)
	if err == nil {
		spoil(s.t, dir)
	}
	return dir, release, err
}

// TestUnrestorableAgain: a template that is no better when it is made again has its
// runs boot cold, and say why; they do not make it over and over.
func TestUnrestorableAgain(t *testing.T) {
	m, h := fakeMachine(t, "arm64", "done"), testHost(t)
	var log lines
	h.Log, h.Cache = log.add, spoiling{h.Cache, t}
	tmpl, err := h.Template(t.Context(), m)
	require.NoError(t, err)
	for range 2 {
		c, err := tmpl.Run(t.Context(), emptyJob(t), RunOptions{})
		require.NoError(t, err)
		assert.Empty(t, c.Reason, c.Detail)
		assert.Equal(t, "cold", c.Boot)
		assert.Contains(t, c.BootNote, "the template could not be restored: host: restore: ")
		assertNothingLeft(t, h.Temp)
	}
	assert.Equal(t, 2, log.count("template: booting"), &log)
}

// lines are what a host has logged.
type lines struct {
	mu   sync.Mutex
	text []string
}

func (l *lines) add(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, fmt.Sprintf(format, args...))
}

// count is how many lines have a word.
func (l *lines) count(word string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.text {
		if strings.Contains(line, word) {
			n++
		}
	}
	return n
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.text, "\n")
}

// TestDeviceWithoutState wants a cold boot, with a note, for a device that
// would come back as a ruin. Its control run is kept all the same: under a warped
// clock a cold boot repeats to the byte.
func TestDeviceWithoutState(t *testing.T) {
	m, h := fakeMachine(t, "arm64", "done"), testHost(t)
	var said lines
	h.Log = said.add
	m.Devices = []string{"edu"}
	tmpl, err := h.Template(t.Context(), m)
	require.NoError(t, err)
	c, err := tmpl.Run(t.Context(), emptyJob(t), RunOptions{})
	require.NoError(t, err)
	assert.Empty(t, c.Reason, c.Detail)
	assert.Equal(t, "cold", c.Boot)
	assert.Contains(t, c.BootNote, "one of edu")
	require.Equal(t, 1, said.count("booting cold"), said.String())
	for range 2 {
		c, err = tmpl.RunControl(t.Context(), emptyJob(t), RunOptions{})
		require.NoError(t, err)
		assert.Empty(t, c.Reason, c.Detail)
		assert.Equal(t, "cold", c.Boot)
		assert.Equal(t, 2, said.count("booting cold"), said.String())
	}
}

// TestDeviceWithState clones a device that does survive.
func TestDeviceWithState(t *testing.T) {
	m, h := fakeMachine(t, "x86_64", "done"), testHost(t)
	m.Devices = []string{"virtio-rng-pci"}
	tmpl, err := h.Template(t.Context(), m)
	require.NoError(t, err)
	c, err := tmpl.Run(t.Context(), emptyJob(t), RunOptions{})
	require.NoError(t, err)
	assert.Equal(t, "clone", c.Boot, c.BootNote)
	assert.Empty(t, c.Reason, c.Detail)
}

// TestNeverReady makes a template of a guest that dies before it is ready:
// every run reports that, and nothing is cached.
func TestNeverReady(t *testing.T) {
	m, h := fakeMachine(t, "arm64", "exit"), testHost(t)
	m.Cmdline = "panic_on_warn=1 init=/nosuchinit rdinit=/nosuchinit " + m.Cmdline
	tmpl, err := h.Template(t.Context(), m)
	require.NoError(t, err)
	out := t.TempDir()
	c, err := tmpl.Run(t.Context(), emptyJob(t), RunOptions{OutDir: out})
	require.NoError(t, err)
	assert.Equal(t, reports.ReasonPanic, c.Reason)
	assert.Contains(t, c.Detail, "VFS: Unable to mount root fs") // the kernel has block devices, so it looks for one
	assert.FileExists(t, filepath.Join(out, "console.log"))
	assertNothingLeft(t, h.Temp)
}

// TestTemplateCancelled interrupts the making: nothing half-made stays.
func TestTemplateCancelled(t *testing.T) {
	m, h := fakeMachine(t, "arm64", "done"), testHost(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	m.Console = &onFirstWord{after: "Linux version", do: cancel}
	_, err := h.Template(ctx, m)
	require.ErrorIs(t, err, context.Canceled)
	assertNothingLeft(t, h.Temp)
	entries, err := (h.Cache.(*kernels.Cache)).List()
	require.NoError(t, err)
	assert.Empty(t, entries)
}

// TestTemplateKey changes one thing at a time: each makes another template.
func TestTemplateKey(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		return path
	}
	program := write("qemu", "#!/bin/sh\necho QEMU emulator version 7.2.22\n")
	require.NoError(t, os.Chmod(program, 0o755))
	newer := write("qemu-newer", "#!/bin/sh\necho QEMU emulator version 9.1.0\n")
	require.NoError(t, os.Chmod(newer, 0o755))
	base := func() Machine {
		return Machine{
			Kernel: &kernels.Kernel{Release: "6.12.1", Arch: "x86_64", Key: "k1"},
			Initrd: []string{write("a", "agent"), write("b", "canary")},
		}
	}
	key := func(qemu string, change func(*Machine)) string {
		m := base()
		change(&m)
		h := &Host{QEMU: map[string]string{"x86_64": qemu, "arm64": qemu}}
		p, _, err := h.plan(t.Context(), m, roleMaker)
		require.NoError(t, err)
		k, err := h.templateKey(t.Context(), p)
		require.NoError(t, err)
		return k
	}
	same := func(*Machine) {}
	first := key(program, same)
	assert.Equal(t, first, key(program, same))
	assert.Equal(t, first, key(program, func(m *Machine) { m.Memory = "128M" }), "the default, spelled out")
	seen := map[string]string{first: "nothing"}
	for name, k := range map[string]string{
		"QEMU":         key(newer, same),
		"kernel":       key(program, func(m *Machine) { m.Kernel.Key = "k2" }),
		"cmdline":      key(program, func(m *Machine) { m.Cmdline = "quiet" }),
		"memory":       key(program, func(m *Machine) { m.Memory = "256M" }),
		"devices":      key(program, func(m *Machine) { m.Devices = []string{"edu"} }),
		"clock":        key(program, func(m *Machine) { m.Clock = ClockReal }),
		"initrd":       key(program, func(m *Machine) { m.Initrd = []string{write("a", "agent"), write("b", "canarY")} }),
		"initrd's cut": key(program, func(m *Machine) { m.Initrd = []string{write("a", "agentc"), write("b", "anary")} }),
	} {
		assert.Empty(t, seen[k], "%s and %s share a template", name, seen[k])
		seen[k] = name
	}
	assert.True(t, strings.HasPrefix(first, "k6.12.1-x86_64-"), first)
}
