// Package reports turns what a guest left behind into a verdict and the
// verdict into text, JSON and the rest. Everything in it is a pure function of
// its input and is tested without a VM.
package reports

// Schema names the format of report.json.
const Schema = "kmemgate.report/v1"

// Verdict is the outcome of a run or of a report.
type Verdict string

// The verdicts.
const (
	Clean   Verdict = "clean"   // nothing new
	Leaks   Verdict = "leaks"   // new orphans, or a finding of a walk
	None    Verdict = "none"    // no verdict, never a pass
	Skipped Verdict = "skipped" // does not apply, never a pass
)

// Status tells what a leak means for the verdict.
type Status string

// The statuses of a leak.
const (
	New        Status = "new"        // fails the gate
	Known      Status = "known"      // in the baseline
	Suppressed Status = "suppressed" // by kmemgate.yml
	Transient  Status = "transient"  // came and went between the last two reads
	Noise      Status = "noise"      // the control run reports it too
)

// Report is report.json.
type Report struct {
	Schema  string  `json:"schema"`
	Verdict Verdict `json:"verdict"`
	Runs    []Run   `json:"runs"`
	// Warnings that concern the report as a whole, e.g. a stale suppression.
	Warnings []string `json:"warnings,omitempty"`
}

// Run is the judgement of one capture.
type Run struct {
	Kernel   string  `json:"kernel"`
	Arch     string  `json:"arch"`
	Scenario string  `json:"scenario"`
	Verdict  Verdict `json:"verdict"`
	// Reason of a verdict none or skipped: a word of the Reason constants,
	// then Detail in a sentence.
	Reason string `json:"reason,omitempty"`
	Detail string `json:"detail,omitempty"`

	Clock     string             `json:"clock,omitempty"`
	ClockNote string             `json:"clock_note,omitempty"`
	Boot      string             `json:"boot,omitempty"`
	BootNote  string             `json:"boot_note,omitempty"`
	Canary    CanaryResult       `json:"canary"`
	Timings   map[string]float64 `json:"timings,omitempty"`
	Stats     Stats              `json:"stats"`
	Audit     []AuditEntry       `json:"audit,omitempty"`
	Warnings  []string           `json:"warnings,omitempty"`

	Leaks  []Leak        `json:"leaks"`
	Cycles []CycleResult `json:"cycles,omitempty"`
	Walk   *WalkResult   `json:"walk,omitempty"`

	// Dir is the run's folder of evidence, relative to report.json.
	Dir string `json:"dir,omitempty"`
	// Reproduce is the command line that repeats this run.
	Reproduce string `json:"reproduce,omitempty"`

	// UnusedSuppressions are for this run's kernel and matched no leak of it.
	// NewReport warns of those that no other run used.
	UsedSuppressions   []string `json:"used_suppressions,omitempty"`
	UnusedSuppressions []string `json:"unused_suppressions,omitempty"`

	// Started is when the run began (RFC 3339, UTC); empty: not known.
	Started string `json:"started,omitempty"`
	// Built tells what exactly was tested; nil: not known.
	Built *Built `json:"built,omitempty"`
}

// Built identifies the bits that a run tested, for the history.
type Built struct {
	Commit    string `json:"commit,omitempty"`    // of the kernel source, where that is a git tree
	Config    string `json:"config,omitempty"`    // sha256 of the kernel's .config, in hex
	Toolchain string `json:"toolchain,omitempty"` // the compiler's first line of --version
	// Content is the content address of everything under test: kernel,
	// configuration, toolchain and the driver's source. Runs with one Content
	// ran the same bits, so a leak that only some of them show is flaky.
	// Empty: not known, and only runs of one night count as the same build.
	Content string `json:"content,omitempty"`
}

// CanaryResult counts the canary's orphans in the read that decides.
type CanaryResult struct {
	Expected int `json:"expected"`
	Found    int `json:"found"`
}

// Stats tell a green run that worked the module from one that did nothing.
type Stats struct {
	Loads   int `json:"loads"`   // of modules under test, that succeeded
	Tracked int `json:"tracked"` // objects the modules allocated
	Devices int `json:"devices"` // devices their drivers bound
}

// AuditEntry is a call in a module under test that can silence kmemleak.
type AuditEntry struct {
	Module   string `json:"module"`
	Import   string `json:"import"`   // e.g. "kmemleak_ignore"
	Function string `json:"function"` // that makes the call; empty if unknown
}

// Leak is the orphans of one signature.
type Leak struct {
	Signature string `json:"signature"`
	Title     string `json:"title"` // "memory leak in FUNC"
	Status    Status `json:"status"`
	Note      string `json:"note,omitempty"` // e.g. the suppression's reason
	Kind      string `json:"kind"`           // "object", "percpu" or "phys"
	Function  string `json:"function"`
	Module    string `json:"module,omitempty"`
	File      string `json:"file,omitempty"`
	Line      int    `json:"line,omitempty"`
	Size      int64  `json:"size"` // of one object, the most frequent
	Count     int    `json:"count"`
	Bytes     int64  `json:"bytes"`
	// PerCycle is by how much Count grew with each cycle after the first; 0 of
	// a run with Cycles means that it did not: what happens once.
	PerCycle float64 `json:"per_cycle,omitempty"`
	// Cycles are those in which the objects were allocated, of a run with several.
	Cycles   []int    `json:"cycles,omitempty"`
	Children int      `json:"children,omitempty"` // orphans only a leaked object points to
	Sites    []Site   `json:"sites,omitempty"`
	Frames   []Frame  `json:"frames"`
	Records  []string `json:"records"` // raw text, of the first MaxRecords

	// Source is the line with two lines of context on either side, where
	// the driver's source was at hand.
	Source []SourceLine `json:"source,omitempty"`
	// Walk lists the n of the failed allocations that led here.
	Walk []int `json:"walk,omitempty"`
}

// Site is one allocating line of a leak.
type Site struct {
	Function string `json:"function,omitempty"`
	Text     string `json:"text,omitempty"` // the line, white space folded
	File     string `json:"file"`
	Line     int    `json:"line"`
	Size     int64  `json:"size"`
	Count    int    `json:"count"`
	// Signature of the orphans of this line, where it is not the leak's: they
	// are children of the leak's head.
	Signature string `json:"signature,omitempty"`
}

// Frame is one frame of a backtrace, inlined ones too.
type Frame struct {
	Function string `json:"function"`
	Offset   uint64 `json:"offset"`
	Module   string `json:"module,omitempty"`
	File     string `json:"file,omitempty"`
	Line     int    `json:"line,omitempty"`
	Inlined  bool   `json:"inlined,omitempty"`

	// kernel says that the line is in the kernel's source, not the driver's.
	kernel bool
}

// SourceLine is one line of a source excerpt.
type SourceLine struct {
	Line int    `json:"line"`
	Text string `json:"text"`
}

// CycleResult is what was orphaned after the n-th cycle.
type CycleResult struct {
	N       int   `json:"n"`
	Orphans int   `json:"orphans"`
	Bytes   int64 `json:"bytes"`
}

// WalkResult is the walk of a driver's error paths.
type WalkResult struct {
	Allocations int       `json:"allocations"` // that the load makes, and the script where it was walked
	Failed      int       `json:"failed"`      // of them, once each
	Findings    []Finding `json:"findings"`
	// Bounded says that the walk was cut at its bound.
	Bounded bool `json:"bounded,omitempty"`
	// Only is the one allocation that was to fail, where one was asked for.
	Only int `json:"only,omitempty"`

	part  walkPart // what the piece is of
	steps []walkedStep
}

// Finding is what one failed allocation brought about.
type Finding struct {
	N    int    `json:"n"`
	Of   string `json:"of,omitempty"` // what the allocation is of, where several things were walked: "the load of foo", "exercise"
	Kind string `json:"kind"`         // "leak", "oops", "panic", "hang", "stuck" or "warn"
	// Outcome is how the load ended: "ENOMEM", or "loaded all the same"; of a
	// script "exit 1", or "succeeded all the same". Empty: it did not end.
	Outcome string `json:"outcome,omitempty"`

	// Where the allocation was made: the first line of the driver's own.
	Function string `json:"function,omitempty"`
	Module   string `json:"module,omitempty"`
	File     string `json:"file,omitempty"`
	Line     int    `json:"line,omitempty"`
	// Path is the driver's error path in its source: from that line to the way
	// out, and what stands at the label that a goto leads to.
	Path []SourceLine `json:"path,omitempty"`

	Stack     []Frame `json:"stack,omitempty"`
	Signature string  `json:"signature,omitempty"` // of the leak
	Text      string  `json:"text,omitempty"`      // what the kernel said
	// Alone walks this one step again.
	Alone string `json:"alone,omitempty"`
}

// The reasons for a run without a verdict that only the host can see; the
// guest's own are handed on as they are (package wire).
const (
	ReasonPanic         = "panic"           // the guest's kernel panicked
	ReasonHang          = "hang"            // the guest never said done
	ReasonQEMU          = "qemu-died"       // QEMU ended or was killed
	ReasonAgentDied     = "agent-died"      // PID 1 ended
	ReasonCut           = "answer-cut"      // a stream is shorter than it claims
	ReasonProtocol      = "protocol"        // the guest sent what no agent sends
	ReasonFlood         = "flood"           // the guest sent more than it may
	ReasonCanary        = "canary-missing"  // not whole in the read that decides
	ReasonDetectorDied  = "detector-died"   // dmesg says that kmemleak gave up
	ReasonLogLost       = "log-lost"        // dmesg is not whole
	ReasonOops          = "oops"            // dmesg holds an oops
	ReasonWarn          = "warn"            // dmesg holds a warning
	ReasonBuild         = "build-failed"    // a module did not build
	ReasonKernel        = "kernel-failed"   // the kernel did not build
	ReasonParse         = "unreadable"      // a record that the parser does not know
	ReasonNothingProbed = "nothing-probed"  // --require-probe, and no device was bound
	ReasonStuck         = "stuck"           // of a step of a walk: the module cannot be unloaded any more
	ReasonIncomplete    = "walk-incomplete" // not every allocation of a walk was made to fail
	ReasonInterrupted   = "interrupted"     // the user ended it
	ReasonHost          = "host"            // the host lacked something
)
