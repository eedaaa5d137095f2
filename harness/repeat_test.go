package harness_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/kmemgate/kmemgate/harness"
	"github.com/kmemgate/kmemgate/kernels"
	"github.com/kmemgate/kmemgate/reports"
	"github.com/kmemgate/kmemgate/scenarios"
)

// repeats is how often each of the four drivers is run: KMEMGATE_REPEATS, or
// enough to see that a second run is like the first.
func repeats(t *testing.T) int {
	t.Helper()
	text := os.Getenv("KMEMGATE_REPEATS")
	if text == "" {
		return 3
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, "KMEMGATE_REPEATS")
	return n
}

// repeated is one driver on one architecture, and what its first run came to.
type repeated struct {
	name, arch string
	verdict    reports.Verdict

	leaks   []reports.Leak
	read    []byte // kmemleak.txt
	console []byte // console.log
	took    []time.Duration
}

// TestRepeatedRuns gates the wrong and the right driver on both architectures,
// four at a time, over and over: the same verdict, signature and count, and the
// same bytes, every time; and nothing that grows.
func TestRepeatedRuns(t *testing.T) {
	gate := realGate(t)
	needPairs(t, gate, "6.12/x86_64", "6.12/arm64")
	list := []*repeated{
		{name: "clean", arch: "x86_64", verdict: reports.Clean}, {name: "leak-on-exit", arch: "x86_64", verdict: reports.Leaks},
		{name: "clean", arch: "arm64", verdict: reports.Clean}, {name: "leak-on-exit", arch: "arm64", verdict: reports.Leaks},
	}
	gate.Host.Jobs = len(list)
	round := func(n int) {
		var group errgroup.Group
		for _, r := range list {
			group.Go(func() error {
				for range n {
					if err := r.again(t, gate); err != nil {
						return err
					}
				}
				return nil
			})
		}
		require.NoError(t, group.Wait())
	}
	round(1) // kernels, modules and templates are made
	before := held(t, gate)
	round(repeats(t))
	after := held(t, gate)
	assert.LessOrEqual(t, after.files, before.files, "open files")
	assert.LessOrEqual(t, after.goroutines, before.goroutines, "goroutines")
	assert.Equal(t, before.folders, after.folders, "temporary folders")
	assert.Equal(t, before.children, after.children, "processes")
	assert.Equal(t, before.evidence, after.evidence, "files of the evidence")
	// The texts of one run are some 100 KB: kept, 500 runs of them are 50 MB. The
	// margin is what the runtime keeps for itself, and it does not grow with runs.
	assert.LessOrEqual(t, after.resident, before.resident+32<<20, "resident memory")
	for _, r := range list {
		slices.Sort(r.took)
		t.Logf("%-12s %-6s  %d runs alike, median %.2f s of %d side by side", r.name, r.arch, len(r.took), r.took[len(r.took)/2].Seconds(), len(list))
	}
	t.Logf("before: %s", before)
	t.Logf("after:  %s", after)
}

// again runs the driver once more and compares it with the first time.
func (r *repeated) again(t *testing.T, gate *harness.Gate) error {
	s, err := scenarios.Load(filepath.Join("..", "scenarios", r.name))
	if err != nil {
		return err
	}
	begin := time.Now()
	run, err := gate.One(t.Context(), s, "6.12", r.arch)
	if err != nil {
		return err
	}
	assert.Equal(t, r.verdict, run.Verdict, "%s %s: %s %s", r.name, r.arch, run.Reason, run.Detail)
	read, err := os.ReadFile(filepath.Join(gate.Out, run.Dir, "kmemleak.txt"))
	if err != nil {
		return err
	}
	console, err := os.ReadFile(filepath.Join(gate.Out, run.Dir, "console.log"))
	if err != nil {
		return err
	}
	if r.read == nil {
		r.leaks, r.read, r.console = run.Leaks, read, console
		return nil
	}
	r.took = append(r.took, time.Since(begin))
	if assert.Len(t, run.Leaks, len(r.leaks)) {
		for i, l := range run.Leaks {
			assert.Equal(t, r.leaks[i].Signature, l.Signature)
			assert.Equal(t, r.leaks[i].Count, l.Count)
		}
	}
	assert.Equal(t, string(r.read), string(read), "%s %s: kmemleak.txt", r.name, r.arch)
	assert.Equal(t, string(r.console), string(console), "%s %s: console.log", r.name, r.arch)
	return nil
}

// holdings is what a process must not hold more of from run to run.
type holdings struct {
	files, goroutines int
	folders           []string
	children          []string // processes, by id
	evidence          int      // files below --out
	cached            int      // files in the cache, but for kernels and their sources
	heap, resident    uint64
}

// String is a line of figures. Others who use the cache meanwhile count as well.
func (h holdings) String() string {
	return fmt.Sprintf("heap in use %.1f MB, resident %.1f MB, %d descriptors, %d goroutines, %d processes, %d temporary folders, %d files of evidence, %d in the cache",
		float64(h.heap)/1e6, float64(h.resident)/1e6, h.files, h.goroutines, len(h.children), len(h.folders), h.evidence, h.cached)
}

// filesBelow counts what is there, in folders that may not be.
func filesBelow(t *testing.T, dirs ...string) (n int) {
	t.Helper()
	for _, dir := range dirs {
		_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				n++
			}
			return nil // somebody else's may go meanwhile
		})
	}
	return n
}

func held(t *testing.T, gate *harness.Gate) holdings {
	t.Helper()
	debug.FreeOSMemory() // collects, and gives back what is free
	files, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	folders, err := filepath.Glob(filepath.Join(gate.Host.Temp, "*"))
	require.NoError(t, err)
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	var kinds []string
	for _, kind := range []string{kernels.KindModules, kernels.KindTemplates, kernels.KindControls, kernels.KindUserland} {
		kinds = append(kinds, filepath.Join(cache, "kmemgate", kind))
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return holdings{
		files: len(files), goroutines: runtime.NumGoroutine(), folders: folders, children: children(t),
		evidence: filesBelow(t, gate.Out), cached: filesBelow(t, kinds...), heap: m.HeapInuse, resident: resident(t),
	}
}

// children are the processes that this one started and that are still there.
func children(t *testing.T) (pids []string) {
	t.Helper()
	lists, err := filepath.Glob("/proc/self/task/*/children")
	require.NoError(t, err)
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err == nil { // else the thread has ended
			pids = append(pids, strings.Fields(string(text))...)
		}
	}
	slices.Sort(pids)
	return pids
}

// resident is the process's memory in bytes, proc_pid_statm(5).
func resident(t *testing.T) uint64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/statm")
	require.NoError(t, err)
	pages, err := strconv.ParseUint(strings.Fields(string(text))[1], 10, 64)
	require.NoError(t, err)
	return pages * uint64(os.Getpagesize())
}

// realGate is a gate on this machine's cache and QEMU.
func realGate(t *testing.T) *harness.Gate {
	t.Helper()
	if testing.Short() {
		t.Skip("boots VMs")
	}
	gate := &harness.Gate{
		Builder: &kernels.Builder{Log: t.Output()},
		Host:    &harness.Host{Log: t.Logf, Temp: t.TempDir()},
		Out:     t.TempDir(),
	}
	t.Cleanup(gate.Close)
	return gate
}

// needPairs skips where a pair of kernel and architecture is not built yet, or
// has no QEMU, but never in CI.
func needPairs(t *testing.T, gate *harness.Gate, pairs ...string) {
	t.Helper()
	missing := t.Skipf
	if os.Getenv("CI") == "true" {
		missing = t.Fatalf
	}
	for _, pair := range pairs {
		source, arch, _ := strings.Cut(pair, "/")
		program := map[string]string{"x86_64": "qemu-system-x86_64", "arm64": "qemu-system-aarch64"}[arch]
		if _, err := exec.LookPath(program); err != nil {
			missing("%s not found: kmemgate doctor tells how to install it", program)
		}
		if _, err := gate.Builder.Path(t.Context(), kernels.Spec{Source: source, Arch: arch}); err != nil {
			missing("kernel %s is not built: kmemgate kernel build %s", pair, pair)
		}
	}
}
