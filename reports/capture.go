package reports

// Capture is all that one run left behind: what the guest sent and what the
// host saw of it. It is evidence, not judgement: Judge makes a Run of it, today
// or years later, from the run's folder alone (ReadCapture, WriteCapture).
type Capture struct {
	Schema   string `json:"schema"` // "kmemgate.capture/v1"
	Kernel   string `json:"kernel"` // release string
	Arch     string `json:"arch"`   // "x86_64" or "arm64"
	Scenario string `json:"scenario"`

	Clock     string `json:"clock"`                // "warp" or "real"
	ClockNote string `json:"clock_note,omitempty"` // why it is not what was asked for
	Boot      string `json:"boot,omitempty"`       // "clone" or "cold"
	BootNote  string `json:"boot_note,omitempty"`  // why there was no clone

	// Reason is why there can be no verdict, as far as host and guest knew
	// while running: one of the Reason constants, with Detail for people.
	// Empty: the guest said done and everything it sent was whole. The checks
	// of the texts themselves (canary, dmesg) are Judge's.
	Reason string `json:"reason,omitempty"`
	Detail string `json:"detail,omitempty"`
	// Skipped is why the run does not apply, e.g. BUILD_EXCLUSIVE_ARCH.
	Skipped string `json:"skipped,omitempty"`

	Modules   []Module   `json:"modules,omitempty"`
	Loads     []Load     `json:"loads,omitempty"`
	Canary    Canary     `json:"canary"`
	Cycles    []Cycle    `json:"cycles,omitempty"`
	Exercises []Exercise `json:"exercises,omitempty"`
	Scans     []Scan     `json:"scans,omitempty"`
	Walk      *WalkData  `json:"walk,omitempty"`

	// KeptLoaded says that the modules were judged while loaded.
	KeptLoaded bool `json:"kept_loaded,omitempty"`
	// SourceDir is the driver's directory on the host; file names in leaks
	// are relative to it.
	SourceDir string `json:"source_dir,omitempty"`
	HZ        int    `json:"hz,omitempty"`

	Timings map[string]float64 `json:"timings,omitempty"` // seconds of wall time by phase

	// The texts, each a file of its own in the run's folder.
	Before   []byte `json:"-"` // before.txt
	Passed   []byte `json:"-"` // passed.txt, records of reads before the last two that those lack
	Previous []byte `json:"-"` // previous.txt
	Last     []byte `json:"-"` // kmemleak.txt, the read that decides
	// Stacks is the last read for which the task stacks were scanned too, where
	// they hid the canary and were left out then: stacks.txt. Nil: they were not.
	Stacks  []byte `json:"-"`
	Control []byte `json:"-"` // control.txt, the last read of the control run
	Dmesg   []byte `json:"-"` // dmesg.txt
	Console []byte `json:"-"` // console.log
	Output  []byte `json:"-"` // exercise.log

	// Memory holds the contents of orphans by address, read from the stopped
	// guest: what tells a list's owner from its nodes. memory.json.
	Memory map[uint64][]byte `json:"-"`

	// Dir is the run's folder, what Module.Path is relative to.
	Dir string `json:"-"`

	// Tracked is how many objects the modules under test allocated, where
	// the guest could count them (fail-nth counts allocations with a module
	// on their stack); nil where it could not.
	Tracked *int `json:"tracked,omitempty"`
	// CPUs is how many the guest's kernel may have (possible CPUs); the
	// canary allocates once for each. 0 means one.
	CPUs int `json:"cpus,omitempty"`
	// Command repeats the run; it becomes Run.Reproduce.
	Command string `json:"command,omitempty"`
	// RunDir is the run's folder relative to report.json; it becomes Run.Dir.
	RunDir string `json:"run_dir,omitempty"`
	// Started and Built become the run's fields of these names.
	Started string `json:"started,omitempty"`
	Built   *Built `json:"built,omitempty"`
}

// Module is a module of the run. Path is the unstripped file, in the run's
// folder relative to it ("modules/foo.ko").
type Module struct {
	Name      string `json:"name"` // with underscores
	Path      string `json:"path"`
	UnderTest bool   `json:"under_test"`
}

// Load is one load of one module, refused ones too, with the addresses of its
// sections: what is needed to turn a bare address into a line after rmmod.
type Load struct {
	Module    string            `json:"module"`
	UnderTest bool              `json:"under_test,omitempty"`
	Canary    bool              `json:"canary,omitempty"`
	Cycle     int               `json:"cycle"`
	PID       int               `json:"pid"`
	Errno     string            `json:"errno,omitempty"`
	Begin     uint64            `json:"begin"`            // jiffies
	Inited    uint64            `json:"inited,omitempty"` // jiffies: .init.text was given back; 0 where that is not known
	End       uint64            `json:"end"`              // jiffies; 0 while loaded
	Size      uint64            `json:"size,omitempty"`
	Sections  map[string]uint64 `json:"sections,omitempty"`
	Bound     []string          `json:"bound,omitempty"`
}

// Canary tells where the canary's orphans are to be found: the addresses that
// kmemleak-test printed while it was loaded, by the child PID between Begin
// and End.
type Canary struct {
	PID       int      `json:"pid"`
	Begin     uint64   `json:"begin"`
	End       uint64   `json:"end"`
	Addresses []uint64 `json:"addresses,omitempty"`
}

// Cycle is what kmemleak reported after one cycle of load and unload.
type Cycle struct {
	N       int   `json:"n"`
	Orphans int   `json:"orphans"`
	Bytes   int64 `json:"bytes"`
}

// Exercise tells how the script of one cycle ended.
type Exercise struct {
	Cycle  int    `json:"cycle"`
	Status int    `json:"status"`
	Signal string `json:"signal,omitempty"`
}

// Scan is one scan and the read after it.
type Scan struct {
	N       int     `json:"n"`
	Jiffies uint64  `json:"jiffies"`
	Bytes   int     `json:"bytes"`
	Records int     `json:"records"`
	Seconds float64 `json:"seconds"` // of guest time
}

// WalkData is the raw outcome of a walk of error paths, or of a piece of one.
type WalkData struct {
	// Module is the one whose load was walked; empty where the script was.
	Module string `json:"module,omitempty"`
	// All says that what others allocate was to be failed as well.
	All bool `json:"all,omitempty"`
	// Only says that one step alone was asked for.
	Only bool `json:"only,omitempty"`
	// From and To are the steps that were asked for. Fewer are enough where one
	// met no fault or is the last that its guest can do.
	From  int        `json:"from,omitempty"`
	To    int        `json:"to,omitempty"`
	Steps []WalkStep `json:"steps"`
}

// WalkStep is one load (or exercise) with its n-th allocation failing.
type WalkStep struct {
	N        int    `json:"n"`
	Injected bool   `json:"injected"`
	Errno    string `json:"errno,omitempty"`
	PID      int    `json:"pid"`
	Begin    uint64 `json:"begin"`
	End      uint64 `json:"end"`
	// Filtered says that the kernel counted only allocations with a module's
	// code on their stack; where not, the stack in the log tells.
	Filtered bool `json:"filtered,omitempty"`
	// Stays says that the module was left loaded, as the job wanted it.
	Stays bool `json:"stays,omitempty"`
	// Died is "oops", "panic", "hang" or "stuck" (the module cannot be unloaded
	// any more) where the guest cannot do another step.
	Died string `json:"died,omitempty"`
	// Why says what holds a module that is stuck.
	Why   string `json:"why,omitempty"`
	Dmesg string `json:"dmesg,omitempty"` // what the kernel said of this step
}
