// Package scenarios reads kmemgate.yml, the one file that says how a driver is
// gated, and holds the suite: one folder a scenario, a small driver with such
// a file each.
package scenarios

import "time"

// Scenario is a kmemgate.yml, with the defaults filled in by Load.
type Scenario struct {
	// Name is the base name of the directory.
	Name string `yaml:"-"`
	// Dir is the directory that holds kmemgate.yml, or that was named on the
	// command line where there is none.
	Dir string `yaml:"-"`

	Kernels []string `yaml:"kernels"` // what --kernel takes; Load's default is DefaultKernel
	Arches  []string `yaml:"arches"`  // Load's default is the host's
	Kconfig []string `yaml:"kconfig"` // e.g. CONFIG_VIDEO_DEV=m, on top of the base
	// Build are the Kbuild or dkms.conf directories, relative to Dir, those
	// first whose symbols others use. Empty means that there is nothing to
	// build: Modules come from the kernel's own tree.
	Build Directories `yaml:"build"`
	// Modules in the order of loading; empty: every .ko built, by dependency.
	Modules    []Module      `yaml:"modules"`
	Exercise   string        `yaml:"exercise"`
	Files      []string      `yaml:"files"`
	Cycles     int           `yaml:"cycles"`
	ErrorPaths ErrorPaths    `yaml:"error_paths"`
	Devices    []string      `yaml:"devices"`
	Clock      string        `yaml:"clock"`
	Unload     *bool         `yaml:"unload"`
	Cmdline    string        `yaml:"cmdline"`
	Memory     string        `yaml:"memory"`
	Timeout    time.Duration `yaml:"timeout"`
	Stack      string        `yaml:"stack"`

	AllowWarn    bool   `yaml:"allow_warn"`
	RequireProbe bool   `yaml:"require_probe"`
	FailOn       string `yaml:"fail_on"`
	Baseline     string `yaml:"baseline"`

	Suppress []Suppression `yaml:"suppress"`

	// Expect is one expectation or a list; the first that fits applies (ExpectFor).
	Expect Expectations `yaml:"expect"`

	// KconfigLines are the line numbers of Kconfig's entries in the file.
	KconfigLines []int `yaml:"-"`
}

// Directories is a list of them; one alone needs no list in the file.
type Directories []string

// Expectations is a list of them; one alone needs no list in the file.
type Expectations []Expectation

// Module is one module to load. A bare string in the file is its name.
type Module struct {
	Name   string `yaml:"name"`
	Params string `yaml:"params"`
}

// Suppression declares a known leak harmless, with a reason.
type Suppression struct {
	Match     string   `yaml:"match"`     // glob on the title
	Signature string   `yaml:"signature"` // or this one exactly
	Reason    string   `yaml:"reason"`    // required
	URL       string   `yaml:"url"`
	Kernels   []string `yaml:"kernels"`
	Expires   string   `yaml:"expires"` // YYYY-MM-DD
	Line      int      `yaml:"-"`       // in kmemgate.yml
}

// Expectation is what the suite judges a run by. Leaks are exact: what is not
// listed must not be there.
type Expectation struct {
	Kernels []string       `yaml:"kernels"` // as MatchKernel takes them; empty: all
	Arches  []string       `yaml:"arches"`  // empty: all
	Verdict string         `yaml:"verdict"`
	Reason  string         `yaml:"reason"` // for none and skipped: the report's reason, or several with | between
	Detail  []string       `yaml:"detail"` // regular expressions, each must match a line of the reason's detail
	Leaks   []ExpectedLeak `yaml:"leaks"`
	Dmesg   []string       `yaml:"dmesg"`    // regular expressions, each must match a line
	NoDmesg []string       `yaml:"no_dmesg"` // none of these may match a line
	Output  []string       `yaml:"output"`   // like Dmesg, of what exercise printed
	// Why explains an expectation that holds for some kernels only.
	Why string `yaml:"why"`
}

// ExpectedLeak is one leak; zero fields are not compared, but for Status, of
// which the zero value means "new".
type ExpectedLeak struct {
	Function string `yaml:"function"`
	Kind     string `yaml:"kind"`
	Status   string `yaml:"status"`
	Count    int    `yaml:"count"`
	Size     int64  `yaml:"size"`
	// Kmalloc is Size for an object that kmalloc took from a bucket of so many
	// bytes: on a kernel without buckets that small the size of its smallest.
	Kmalloc int64 `yaml:"kmalloc"`
	// PerCycle is by how many objects the leak grows with each cycle; nil is
	// not compared, for 0 means something.
	PerCycle *float64 `yaml:"per_cycle"`
	File     string   `yaml:"file"`
	Line     int      `yaml:"line"`
	Children int      `yaml:"children"`
}
