// Package wire holds what host and guest say to each other: the job, which
// the host lays into shared memory before the guest's clock runs, and the
// messages, which the agent sends back over its virtio-serial port.
//
// Everything that arrives from the guest is untrusted: the module under test
// owns the guest's kernel.
package wire

// ShellGreeting is the first thing that a shell's guest prints for a person.
const ShellGreeting = "kmemgate:"

// Job is what a guest is asked to do. It is the first file, job.json, of the
// job archive; the other files it names stand in the same archive.
//
// A Job without modules is a control run: the same steps, nothing loaded.
type Job struct {
	// Modules in the order of loading; they are unloaded in reverse.
	Modules []JobModule `json:"modules,omitempty"`

	// Exercise is the archive path of a script for u-root's shell, run
	// while the modules are loaded, once a cycle. Empty: nothing is run.
	Exercise string `json:"exercise,omitempty"`

	// ExerciseMayFail lets a control run go on where the script stumbles
	// over the module that is not there.
	ExerciseMayFail bool `json:"exercise_may_fail,omitempty"`

	// Cycles is how often to load, exercise and unload; 0 means once.
	Cycles int `json:"cycles,omitempty"`

	// Turns makes of Modules a row of turns, each up to and including a module
	// under test: what it needs is loaded, then it, and all are unloaded before
	// the next turn. A module that is refused ends its turn, not the job: its Load
	// tells. The kernel's log has a mark (TurnMark) where a turn begins and ends.
	Turns bool `json:"turns,omitempty"`

	// KeepLoaded judges while the modules are still loaded.
	KeepLoaded bool `json:"keep_loaded,omitempty"`

	// Stack is "on" or "off", written to kmemleak as stack=…; empty means off,
	// or on with KeepLoaded. Addresses long dead on the stacks of kernel
	// threads hide leaks (package agent, occupySlabs).
	Stack string `json:"stack,omitempty"`

	// Walk, where set, replaces the cycles by a walk of error paths.
	Walk *Walk `json:"walk,omitempty"`

	// Shell gives a prompt on the console in place of steps 4 to 7.
	Shell bool `json:"shell,omitempty"`

	// TimeoutNS bounds each load, unload and script, in guest time; 0 means
	// one minute.
	TimeoutNS int64 `json:"timeout_ns,omitempty"`
}

// JobModule is one module of a job.
type JobModule struct {
	Name      string `json:"name"` // as in /proc/modules, with underscores
	File      string `json:"file"` // path in the archive, e.g. modules/foo.ko
	Params    string `json:"params,omitempty"`
	UnderTest bool   `json:"under_test,omitempty"` // false for what it merely needs
}

// Walk asks for the load of the last module to be repeated with its n-th
// allocation failing, n = From, From+1, … To, or until a load meets no
// injected fault any more.
type Walk struct {
	From int `json:"from"`
	To   int `json:"to"`
	// All counts the module loader's own allocations as well, not only
	// those with the module's code on their stack.
	All bool `json:"all,omitempty"`
	// Exercise walks the script's allocations instead of the load's.
	Exercise bool `json:"exercise,omitempty"`
	// DetectorStart and DetectorEnd are where kmemleak's own code lies in the
	// kernel. It allocates a record for each allocation of a driver, with the
	// driver on its stack: no driver's allocation, and not to be failed. Zero
	// where that is not known.
	DetectorStart uint64 `json:"detector_start,omitempty"`
	DetectorEnd   uint64 `json:"detector_end,omitempty"`
	// SlabStart and SlabEnd are where the slab allocator asks for pages. Its first
	// try is for a larger one, which may fail and nobody notices; and whose kmalloc
	// needs a new page differs from clone to clone, so that the allocations would
	// have another number in each and one could be left out. Zero where that is not
	// known.
	SlabStart uint64 `json:"slab_start,omitempty"`
	SlabEnd   uint64 `json:"slab_end,omitempty"`
}

// TurnMark is the line of the kernel's log at the beginning and the end of a turn.
//
// Example: kmemgate: turn of dm_crypt begins
func TurnMark(module string, begins bool) string {
	if begins {
		return "turn of " + module + " begins"
	}
	return "turn of " + module + " ends"
}
