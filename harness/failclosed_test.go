package harness

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/initramfs/wire"
	"github.com/kmemgate/kmemgate/kernels"
	"github.com/kmemgate/kmemgate/reports"
	"github.com/kmemgate/kmemgate/scenarios"
)

// noVerdict is something that goes wrong in a guest, and the reason that must
// then be told in place of a verdict.
type noVerdict struct {
	name string

	driver   string // folder of testdata/failclosed; empty: wrong
	params   string // of its module
	exercise string
	cmdline  string
	loaded   bool   // judged while loaded
	probe    bool   // --require-probe
	agent    string // way of testdata/fakeagent, in the agent's place
	kill     bool   // QEMU, once the module is being loaded

	reason, detail string
	after          time.Duration // limit of guest time; 0 means 5 s
}

// put writes by a child of the shell: what hangs or oopses then is not the shell.
const put = `put() { printf %s "$2" | tee "$1" > /dev/null; }
k() { put /sys/kernel/debug/kmemleak "$1"; }
now() { put /sys/module/wrong/parameters/now "$1"; }
`

// failing has kmemleak's records come from its pool alone, not from slab.
const failing = `f=/sys/kernel/debug/failslab
put /sys/kernel/slab/kmemleak_object/failslab 1
put $f/cache-filter Y
put $f/ignore-gfp-wait N
put $f/stacktrace-depth 0
put $f/require-start 0
put $f/require-end 0xffffffffffffffff
put $f/space 0
put $f/interval 1
put $f/times -1
put $f/probability 100
`

var noVerdicts = []noVerdict{
	{name: "panic while loading", params: "init=panic",
		reason: reports.ReasonPanic, detail: "wrong: on purpose"},
	{name: "panic while unloading", params: "exit=panic",
		reason: reports.ReasonPanic, detail: "wrong: on purpose"},
	{name: "panic during a scan", params: "init=panic-in-scan", loaded: true,
		reason: reports.ReasonPanic, detail: "wrong: during a scan"},

	{name: "oops while loading", params: "init=oops",
		reason: reports.ReasonOops, detail: "NULL pointer dereference, address: 0000000000000008; then load-hang"},
	{name: "oops while unloading", params: "exit=oops",
		reason: reports.ReasonOops, detail: "NULL pointer dereference, address: 0000000000000008; then unload-hang"},
	{name: "oops in the script's task", exercise: "now oops",
		reason: reports.ReasonOops, detail: "NULL pointer dereference, address: 0000000000000008; then exercise-hang"},
	{name: "oops that nobody hears of", params: "init=oops-aside",
		reason: reports.ReasonOops, detail: "NULL pointer dereference, address: 0000000000000008"},
	{name: "oops during a scan", params: "init=trap",
		reason: reports.ReasonOops, detail: "and its kernel had oopsed"},
	{name: "a double free that the kernel survives", params: "init=free-twice",
		reason: reports.ReasonOops, detail: "): Object already free"},
	{name: "the kernel's log has a gap", params: "init=chatter",
		reason: reports.ReasonLogLost, detail: "kernel messages were lost here"},
	{name: "warning", params: "init=warn",
		reason: reports.ReasonWarn, detail: "wrong: on purpose"},

	{name: "init hangs", params: "init=hang",
		reason: wire.ReasonLoadHang, detail: "not even killed by SIGKILL"},
	{name: "exit hangs", params: "exit=hang",
		reason: wire.ReasonUnloadHang, detail: "not even killed by SIGKILL"},
	{name: "the script hangs", exercise: "while true; do sleep 1; done",
		reason: wire.ReasonExerciseHang, detail: "exercise: not done within 5s"},
	{name: "the script hangs in the kernel", exercise: "printf hang > /sys/module/wrong/parameters/now",
		reason: wire.ReasonExerciseHang, detail: "not even ended by SIGKILL"},
	{name: "the kernel hangs", params: "init=spin", after: time.Second,
		reason: reports.ReasonHang, detail: `(in phase "work")`},

	{name: "QEMU is killed", params: "init=spin", kill: true,
		reason: reports.ReasonQEMU, detail: "signal: killed"},
	{name: "the agent is killed", exercise: "kill -SIGABRT 1; sleep 1",
		reason: reports.ReasonAgentDied, detail: "Attempted to kill init"},
	{name: "the answer is cut", params: "init=off-in-report", loaded: true, exercise: "dd if=/dev/zero bs=1048576 count=3",
		reason: reports.ReasonCut, detail: `powered itself off before it was done (in phase "send")`},
	{name: "the port is closed in the middle of the report", agent: "close",
		reason: reports.ReasonCut, detail: "the guest closed its port before it was done"},
	{name: "the answer claims more than there is", agent: "claim",
		reason: reports.ReasonCut, detail: "has 4 bytes, the guest claims 8"},

	{name: "a guest that lies, clean without a canary", agent: "clean",
		reason: reports.ReasonCanary, detail: "holds no address that kmemleak-test printed"},
	{name: "a guest that lies, with a canary that it made up", agent: "canary",
		reason: reports.ReasonCanary, detail: "0 of 25 objects that kmemleak-test leaked"},

	{name: "detector off at boot", cmdline: "kmemleak=off",
		reason: wire.ReasonDetectorOff, detail: `refused "scan=off"`},
	{name: "detector off by the script", exercise: "k off",
		reason: wire.ReasonDetectorOff, detail: `refused "scan"`},
	{name: "detector off by the module", params: "init=overlap",
		reason: reports.ReasonDetectorDied, detail: "overlaps existing"},
	{name: "pool exhausted", exercise: failing + "now many",
		reason: reports.ReasonDetectorDied, detail: "Memory pool empty"},
	{name: "no two reads agree", params: "init=lose", loaded: true,
		reason: wire.ReasonUnsettled, detail: "8 scans, and the last two reads hold"},
	{name: "canary missing", exercise: "sleep 6; k scan; k scan; k clear", after: 20 * time.Second,
		reason: wire.ReasonCanaryGone, detail: "0 of the canary's 25"},

	{name: "the module does not load", params: "init=refuse",
		reason: wire.ReasonLoadFailed, detail: "wrong: the firmware is not there, on purpose"},
	{name: "the module does not unload", params: "init=hold",
		reason: wire.ReasonUnloadFailed, detail: "its reference count is 1"},
	{name: "the script fails", exercise: "false",
		reason: wire.ReasonExercise, detail: "exit status 1"},
	{name: "the driver eats all memory", params: "init=eat",
		reason: wire.ReasonOutOfMemory, detail: "invoked oom-killer"},
	{name: "the script eats all memory", exercise: "for d in /job /tmp; do dd if=/dev/zero of=$d/full bs=1048576 count=200; done", after: 20 * time.Second,
		reason: wire.ReasonOutOfMemory, detail: "invoked oom-killer"},
	{name: "no device though one is required", driver: "unbound", probe: true,
		reason: reports.ReasonNothingProbed, detail: "bound a device"},
}

// TestFailsClosed brings about, for real, what makes a run worthless: each has
// no verdict, its own reason in report.json, and exit status 3.
func TestFailsClosed(t *testing.T) {
	kernel := gateKernel(t)
	command := buildCommand(t)
	for _, tt := range noVerdicts {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			gate := testGate(t)
			if tt.agent != "" {
				gate.userspaces.archives = map[string][]string{kernel.Key: {fakeInitrd(t, "x86_64")}}
				gate.Host.Cache = &kernels.Cache{Dir: t.TempDir()} // of no use to anyone else
			}
			if tt.kill {
				killer := &onFirstWord{after: "wrong: loading", do: func() { killQEMUs(t, gate.Host.Temp) }}
				gate.Console = func(string) io.Writer { return killer }
			}
			run := gateOnce(t, gate, tt.scenario(t))
			assert.Equal(t, reports.None, run.Verdict)
			assert.Equal(t, tt.reason, run.Reason, run.Detail)
			assert.Contains(t, run.Detail, tt.detail)
			assert.Empty(t, run.Leaks)
			assertRejudged(t, gate, run)
			assertExits(t, 3, exec.Command(command, "report", gate.Out))
			assertNothingLeft(t, gate.Host.Temp)
		})
	}
}

// TestNoVerdictPage wants every row in the page that tells users what to do.
func TestNoVerdictPage(t *testing.T) {
	page := string(readFile(t, "../docs/no-verdict.md"))
	for _, tt := range noVerdicts {
		assert.Regexp(t, "(?m)^\\|.*`"+tt.reason+"`.*`"+strings.ReplaceAll(tt.name, " ", "_")+"`", page)
	}
}

// TestEveryRowHasItsMutation wants each row's check to be one that make mutate
// takes out.
func TestEveryRowHasItsMutation(t *testing.T) {
	var rows []*regexp.Regexp
	for line := range strings.Lines(string(readFile(t, "../.ci/mutations/mutations.yml"))) {
		if _, row, ok := strings.Cut(strings.TrimSpace(line), "test: ./harness ^TestFailsClosed$/"); ok {
			rows = append(rows, regexp.MustCompile(row))
		}
	}
	for _, tt := range noVerdicts {
		name := strings.ReplaceAll(tt.name, " ", "_")
		assert.True(t, slices.ContainsFunc(rows, func(row *regexp.Regexp) bool { return row.MatchString(name) }), name)
	}
}

// TestNotSilentlyGreen wants a warning with a verdict that proves less than it
// seems to.
func TestNotSilentlyGreen(t *testing.T) {
	gateKernel(t)
	for _, tt := range []struct {
		noVerdict
		warning string
		stats   reports.Stats
	}{
		{noVerdict{name: "nothing allocated", driver: "nothing"}, "allocated nothing", reports.Stats{Loads: 1}},
		{noVerdict{name: "probe never ran", driver: "unbound"}, "its probe never ran", reports.Stats{Loads: 1, Tracked: 18}},
		{noVerdict{name: "counting spoiled", exercise: "put /sys/kernel/debug/failslab/times 2"}, "was not counted", reports.Stats{Loads: 1}},
		{noVerdict{name: "allowed warning", params: "init=warn"}, "the kernel warned: ", reports.Stats{Loads: 1}},
		{noVerdict{name: "judged while loaded", loaded: true}, "weaker", reports.Stats{Loads: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			gate := testGate(t)
			s := tt.scenario(t)
			s.AllowWarn = true
			run := gateOnce(t, gate, s)
			assert.Equal(t, reports.Clean, run.Verdict, run.Detail)
			assert.Contains(t, strings.Join(run.Warnings, "\n"), tt.warning)
			assert.Equal(t, tt.stats, run.Stats)
			assert.Equal(t, silencersOf[s.Modules[0].Name], run.Audit)
		})
	}
}

// silencersOf is what the drivers of testdata/failclosed call that can make
// kmemleak blind.
var silencersOf = map[string][]reports.AuditEntry{"wrong": {
	{Module: "wrong", Import: "kmemleak_alloc", Function: "do_overlap"},
	{Module: "wrong", Import: "kmemleak_alloc", Function: "do_trap"},
}}

// TestAllocationsAreCounted counts what drivers allocate: in the loader's task,
// in a worker, of slab and of percpu memory.
func TestAllocationsAreCounted(t *testing.T) {
	gateKernel(t)
	for name, tracked := range map[string]int{
		"clean":        4, // the note, its text, and two for its file in debugfs
		"where-work":   3,
		"alloc-percpu": 1,
		"alloc-pages":  0,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := scenarios.Load(filepath.Join("../scenarios", name))
			require.NoError(t, err)
			s.Kernels, s.Arches = []string{"6.12"}, []string{"x86_64"}
			run := gateOnce(t, testGate(t), s)
			assert.Equal(t, tracked, run.Stats.Tracked)
		})
	}
}

// TestLateProbe wants a device that was bound after the load to count.
func TestLateProbe(t *testing.T) {
	a := &answer{}
	a.take(wire.Load{Module: "foo", Bound: []string{"a"}})
	a.take(wire.Unload{Module: "foo", Bound: []string{"a", "b"}})
	assert.Equal(t, []string{"a", "b"}, a.loads[0].Bound)
}

// scenario is the row as a kmemgate.yml would have it.
func (n noVerdict) scenario(t testing.TB) *scenarios.Scenario {
	t.Helper()
	driver := n.driver
	if driver == "" {
		driver = "wrong"
	}
	s, err := scenarios.Load(filepath.Join("testdata/failclosed", driver))
	require.NoError(t, err)
	s.Kernels, s.Arches = []string{"6.12"}, []string{"x86_64"}
	s.Modules = []scenarios.Module{{Name: driver, Params: n.params}}
	s.Cmdline, s.RequireProbe, s.Timeout = n.cmdline, n.probe, 5*time.Second
	if n.agent != "" {
		s.Cmdline = "fake=" + n.agent
	}
	if n.after > 0 {
		s.Timeout = n.after
	}
	if n.exercise != "" {
		s.Exercise = put + n.exercise + "\n"
	}
	if unload := !n.loaded; n.loaded {
		s.Unload = &unload
	}
	return s
}

// gateKernel finds the kernel that the gate's tests run on. It skips where
// there is none, but never in CI.
func gateKernel(t testing.TB) *kernels.Kernel {
	t.Helper()
	return builtKernel(t, kernels.Spec{Source: "6.12", Arch: "x86_64"})
}

// builtKernel finds a kernel of x86_64, as gateKernel does.
func builtKernel(t testing.TB, spec kernels.Spec) *kernels.Kernel {
	t.Helper()
	if testing.Short() {
		t.Skip("boots VMs")
	}
	missing := t.Skipf
	if os.Getenv("CI") == "true" {
		missing = t.Fatalf
	}
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		missing("no QEMU: %v", err)
	}
	builder := &kernels.Builder{}
	t.Cleanup(builder.Close)
	k, err := builder.Path(t.Context(), spec)
	if err != nil {
		missing("no kernel: %v", err)
	}
	return k
}

// testGate is a gate with the user's cache and folders of its own.
func testGate(t testing.TB) *Gate {
	t.Helper()
	gate := &Gate{
		Builder: &kernels.Builder{Log: t.Output()},
		Host:    &Host{Temp: t.TempDir(), Log: t.Logf},
		Out:     t.TempDir(),
	}
	t.Cleanup(gate.Close)
	return gate
}

// gateOnce gates a scenario and returns its only run, as report.json has it.
func gateOnce(t testing.TB, gate *Gate, s *scenarios.Scenario) reports.Run {
	t.Helper()
	_, err := gate.Run(t.Context(), s)
	require.NoError(t, err)
	var report reports.Report
	require.NoError(t, json.Unmarshal(readFile(t, filepath.Join(gate.Out, "report.json")), &report))
	require.Len(t, report.Runs, 1)
	assert.Equal(t, report.Runs[0].Verdict, report.Verdict)
	return report.Runs[0]
}

// assertRejudged wants the same outcome from the evidence alone.
func assertRejudged(t testing.TB, gate *Gate, run reports.Run) {
	t.Helper()
	c, err := reports.ReadCapture(filepath.Join(gate.Out, run.Dir))
	require.NoError(t, err)
	again := reports.Judge(c, reports.Policy{RequireProbe: run.Reason == reports.ReasonNothingProbed})
	assert.Equal(t, run.Reason, again.Reason)
	assert.Equal(t, run.Detail, again.Detail)
}

// buildCommand compiles kmemgate, for its exit status.
func buildCommand(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kmemgate")
	out, err := exec.Command("go", "build", "-o", path, "..").CombinedOutput()
	require.NoError(t, err, string(out))
	return path
}

func assertExits(t testing.TB, status int, c *exec.Cmd) {
	t.Helper()
	out, err := c.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		assert.Equal(t, status, exit.ExitCode(), string(out))
		return
	}
	require.NoError(t, err)
	assert.Zero(t, status, string(out))
}

// onFirstWord does something once the guest's console has printed a text;
// without one, once it has printed at all.
type onFirstWord struct {
	after string
	do    func()

	once sync.Once
	text strings.Builder
}

func (w *onFirstWord) Write(b []byte) (int, error) {
	if w.text.Write(b); strings.Contains(w.text.String(), w.after) {
		w.once.Do(w.do)
	}
	return len(b), nil
}
