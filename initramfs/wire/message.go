package wire

// Kind is the first byte of a message's body.
type Kind byte

// The kinds of messages, guest to host. A message is a frame: its length
// (four bytes, big endian, kind and payload), its kind, its payload. All but
// KindData carry one JSON object.
const (
	KindHello    Kind = 'H' // Hello: the agent runs
	KindPhase    Kind = 'P' // Phase: a step begins
	KindLoad     Kind = 'L' // Load: a module was loaded, or refused
	KindUnload   Kind = 'U' // Unload: a module was unloaded, or refused
	KindExercise Kind = 'X' // Exercise: the script ended
	KindScan     Kind = 'S' // Scan: one scan and the read after it
	KindTracked  Kind = 'A' // Tracked: what the modules allocated
	KindWalk     Kind = 'W' // WalkStep: one step of a walk of error paths
	KindData     Kind = 'D' // stream name length (1 byte), name, bytes
	KindEnd      Kind = 'E' // End: a stream is complete
	KindTrouble  Kind = 'T' // Trouble: the guest cannot go on
	KindDone     Kind = 'Z' // Done: the guest has said everything
)

const (
	// MaxChunk bounds the bytes of one KindData message.
	MaxChunk = 32 << 10
	// MaxFrame bounds any frame: a chunk, or a JSON object.
	MaxFrame = 64 << 10
	// MaxStream bounds one stream: a kmemleak file of some 100,000 records.
	MaxStream = 64 << 20
	// MaxTotal bounds all that one guest may send.
	MaxTotal = 256 << 20
)

// The streams a guest sends.
const (
	StreamBefore   = "before.txt"   // kmemleak, settled after boot
	StreamCanary   = "canary.txt"   // what kmemleak-test printed, sent before the job is there
	StreamPassed   = "passed.txt"   // kmemleak, records of reads before the last two that those lack
	StreamStacks   = "stacks.txt"   // kmemleak, the last read with the task stacks, where they were left out then
	StreamPrevious = "previous.txt" // kmemleak, the read before the last
	StreamLast     = "kmemleak.txt" // kmemleak, the read that decides
	StreamDmesg    = "dmesg.txt"    // the kernel log since boot
	StreamExercise = "exercise.log" // what the script printed
)

// The phases, in order.
const (
	PhaseBoot     = "boot"     // agent up, detector proven alive
	PhaseBaseline = "baseline" // settle, scan until two reads agree
	PhaseCanary   = "canary"   // kmemleak-test loaded and unloaded
	PhaseReady    = "ready"    // waiting for the job: a template is saved here
	PhaseWork     = "work"     // load, exercise, unload
	PhaseSettle   = "settle"   // let what is deferred finish
	PhaseScan     = "scan"     // scan until settled
	PhaseSend     = "send"     // the answer
)

// Hello is the first message of a guest.
type Hello struct {
	Version int    `json:"version"` // of this protocol
	Release string `json:"release"`
	Machine string `json:"machine"`
	CPUs    int    `json:"cpus"`
	// MinUnrefScans is the kernel's min_unref_scans after it was set to 1;
	// -1 where the kernel has none.
	MinUnrefScans int `json:"min_unref_scans"`
	// HZ is ticks per second, to turn jiffies into time.
	HZ int `json:"hz"`
}

// Phase says that a step begins.
type Phase struct {
	Name     string `json:"name"`
	UptimeNS int64  `json:"uptime_ns"`
	Jiffies  uint64 `json:"jiffies"`
}

// Load tells of one load of one module, refused ones too.
type Load struct {
	Module    string            `json:"module"`
	UnderTest bool              `json:"under_test,omitempty"`
	Canary    bool              `json:"canary,omitempty"`
	Cycle     int               `json:"cycle"`
	PID       int               `json:"pid"`              // of the child that loaded it
	Errno     string            `json:"errno,omitempty"`  // e.g. "ENOMEM"; empty: loaded
	Begin     uint64            `json:"begin"`            // jiffies before finit_module
	Inited    uint64            `json:"inited,omitempty"` // jiffies after finit_module
	End       uint64            `json:"end"`              // jiffies after delete_module; 0 while loaded
	Sections  map[string]uint64 `json:"sections,omitempty"`
	// Size of the module's core memory from /proc/modules.
	Size uint64 `json:"size,omitempty"`
	// Bound lists the devices under the module's drivers while loaded,
	// e.g. "pci:edu:0000:00:05.0".
	Bound []string `json:"bound,omitempty"`
}

// Unload tells of one unload.
type Unload struct {
	Module  string   `json:"module"`
	Cycle   int      `json:"cycle"`
	Errno   string   `json:"errno,omitempty"`
	Holders []string `json:"holders,omitempty"` // who keeps a busy module
	RefCnt  int      `json:"refcnt,omitempty"`
	Jiffies uint64   `json:"jiffies"` // after delete_module: the end of the module's Load
	// Bound lists the devices just before the unload, as in Load: a probe may
	// end after the load did.
	Bound []string `json:"bound,omitempty"`
	// Counted says that Orphans and Bytes count what kmemleak reported after
	// this cycle, with the last unload of a cycle, where a job has several.
	Counted bool  `json:"counted,omitempty"`
	Orphans int   `json:"orphans,omitempty"`
	Bytes   int64 `json:"bytes,omitempty"`
}

// Exercise tells how the script ended.
type Exercise struct {
	Cycle  int    `json:"cycle"`
	Status int    `json:"status"`           // exit status
	Signal string `json:"signal,omitempty"` // e.g. "SIGSEGV"
}

// Tracked tells how many allocations kmemleak tracked with a module's code on
// their stack, between the first load and the last unload. It is not sent where
// the kernel cannot count them.
type Tracked struct {
	Objects int `json:"objects"`
}

// Scan tells of one scan and of the read that followed.
type Scan struct {
	N       int    `json:"n"`
	Jiffies uint64 `json:"jiffies"`
	Bytes   int    `json:"bytes"` // of the read
	Records int    `json:"records"`
	TookNS  int64  `json:"took_ns"`
}

// WalkStep tells of one load with a failing allocation.
type WalkStep struct {
	N        int    `json:"n"`
	Injected bool   `json:"injected"` // false: the load met no fault, the walk is over
	Errno    string `json:"errno,omitempty"`
	PID      int    `json:"pid"`
	Begin    uint64 `json:"begin"`
	End      uint64 `json:"end"`
	// Filtered says that the kernel itself counted only what has a module's
	// code on its stack.
	Filtered bool `json:"filtered,omitempty"`
	// Stays says that the modules are still loaded, as the job wants it: there
	// can be no further step in this guest.
	Stays bool `json:"stays,omitempty"`
}

// End closes a stream: what was sent must have this length and this sum.
type End struct {
	Stream string `json:"stream"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"` // hex
}

// Trouble ends a run without a verdict. Reason is one of the Reason
// constants of this package, Detail is for people.
type Trouble struct {
	Reason string `json:"reason"`
	Detail string `json:"detail"`
}

// Done is the last message; Messages counts all before it.
type Done struct {
	Messages int `json:"messages"`
}

// The reasons for which a guest gives up. The host has reasons of its own
// (package reports); these are the ones that the guest alone can see.
const (
	ReasonDetectorOff  = "detector-off"     // kmemleak refused a command, or is not there
	ReasonNoDebugfs    = "no-debugfs"       // debugfs could not be mounted
	ReasonShortWrite   = "short-write"      // a command was not taken in full
	ReasonUnsettled    = "unsettled"        // reads still differ after all scans
	ReasonCanaryGone   = "canary-missing"   // they agree, but never hold all of the canary
	ReasonLoadFailed   = "load-failed"      // a module was refused
	ReasonUnloadFailed = "unload-failed"    // a module would not go
	ReasonExercise     = "exercise-failed"  // the script exited non-zero
	ReasonLoadHang     = "load-hang"        // a module's init does not return
	ReasonUnloadHang   = "unload-hang"      // a module's exit does not return
	ReasonExerciseHang = "exercise-hang"    // the script does not end
	ReasonBadJob       = "bad-job"          // the job's archive is broken
	ReasonCanaryLoad   = "canary-not-there" // kmemleak-test could not be loaded
	ReasonAgent        = "agent-error"      // the agent itself erred
	ReasonOutOfMemory  = "out-of-memory"    // the guest ran out of memory
)
