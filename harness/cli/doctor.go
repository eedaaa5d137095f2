package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/kmemgate/kmemgate/kernels"
)

// Check is one line of the doctor's finding.
type Check struct {
	Name string `json:"name"`
	// Status is "ok", "lack" (a run will fail) or "note" (a run can do without).
	Status string `json:"status"`
	Found  string `json:"found,omitempty"`
	// Cure is the command that mends it on this distribution.
	Cure string `json:"cure,omitempty"`
}

// tool is a program that kmemgate calls, and the package that brings it.
type tool struct {
	program string
	version string // flag that prints the version; empty: not asked
	oldest  string // oldest version that works; empty: any
	why     string
	// optional tools make some runs possible or faster.
	optional bool
	packages map[string]string // by distribution
}

// The package names differ per distribution; "" means the distribution of
// /etc/os-release is not known, and Debian's name stands in.
var tools = []tool{
	{program: "go", version: "version", oldest: "1.26", why: "compiles the agent", packages: pkgs("golang-go", "golang", "go")},
	{program: "qemu-system-x86_64", version: "--version", oldest: "7.2", why: "x86_64 guests", packages: pkgs("qemu-system-x86", "qemu-system-x86-core", "qemu-system-x86")},
	{program: "qemu-system-aarch64", version: "--version", oldest: "7.2", why: "arm64 guests", packages: pkgs("qemu-system-arm", "qemu-system-aarch64-core", "qemu-system-aarch64")},
	{program: "gcc", version: "-dumpfullversion", why: "compiles kernels and modules", packages: pkgs("gcc", "gcc", "gcc")},
	{program: crossCompiler(), why: "compiles for the other architecture", optional: true, packages: pkgs(crossPackage(), crossPackage(), crossPackage())},
	{program: "make", version: "--version", oldest: "4.0", why: "Kbuild", packages: pkgs("make", "make", "make")},
	{program: "flex", why: "Kconfig's parser", packages: pkgs("flex", "flex", "flex")},
	{program: "bison", why: "Kconfig's parser", packages: pkgs("bison", "bison", "bison")},
	{program: "bc", why: "the kernel's time constants", packages: pkgs("bc", "bc", "bc")},
	{program: "xz", why: "unpacks kernel sources", packages: pkgs("xz-utils", "xz", "xz")},
	{program: "setpriv", why: "ends QEMU with its parent", packages: pkgs("util-linux", "util-linux", "util-linux")},
	{program: "modinfo", why: "reads modules", packages: pkgs("kmod", "kmod", "kmod")},
	{program: "patch", why: "PATCH of dkms.conf", optional: true, packages: pkgs("patch", "patch", "patch")},
	{program: "ccache", why: "makes the second kernel build fast", optional: true, packages: pkgs("ccache", "ccache", "ccache")},
	{program: "git", why: "--against, and edited kernel trees", optional: true, packages: pkgs("git", "git", "git")},
}

func pkgs(debian, fedora, arch string) map[string]string {
	return map[string]string{"debian": debian, "ubuntu": debian, "fedora": fedora, "arch": arch}
}

func crossCompiler() string {
	if runtime.GOARCH == "arm64" {
		return "x86_64-linux-gnu-gcc"
	}
	return "aarch64-linux-gnu-gcc"
}

func crossPackage() string {
	if runtime.GOARCH == "arm64" {
		return "gcc-x86-64-linux-gnu"
	}
	return "gcc-aarch64-linux-gnu"
}

// installers is the command that installs a package, by distribution.
var installers = map[string]string{
	"debian": "sudo apt-get install -y ",
	"ubuntu": "sudo apt-get install -y ",
	"fedora": "sudo dnf install -y ",
	"arch":   "sudo pacman -S --needed ",
}

func newDoctor() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "doctor",
		Short:   "Tell what this machine lacks, and the command that mends it",
		Example: "  kmemgate doctor\n  kmemgate doctor --json | jq '.[]|select(.status==\"lack\")'",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			checks := examine(distribution("/etc/os-release"))
			if err := printChecks(c.OutOrStdout(), checks, asJSON); err != nil {
				return err
			}
			if n := count(checks, "lack"); n > 0 {
				return fmt.Errorf("doctor: this machine lacks %d of what a run needs", n)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// examine makes every check.
func examine(distro string) []Check {
	checks := make([]Check, 0, len(tools)+5)
	for _, t := range tools {
		checks = append(checks, t.check(distro))
	}
	return append(checks, checkHeaders(distro), checkKVM(), checkMemory(), checkDisk(), checkCache())
}

func (t tool) check(distro string) Check {
	c := Check{Name: t.program, Status: "ok", Cure: installers[distro] + t.packages[distro]}
	lack := "lack"
	if t.optional {
		lack = "note"
	}
	path, err := exec.LookPath(t.program)
	if err != nil {
		c.Status, c.Found = lack, "not found: "+t.why
		return c
	}
	c.Found = path
	if t.version != "" {
		c.Found = programVersion(path, t.version)
	}
	if t.oldest != "" && older(c.Found, t.oldest) {
		c.Status, c.Found = lack, fmt.Sprintf("%s: too old, want %s", c.Found, t.oldest)
		return c
	}
	c.Cure = ""
	return c
}

var versionText = regexp.MustCompile(`\d+(\.\d+)+`)

func programVersion(path, flag string) string {
	out, err := exec.Command(path, flag).CombinedOutput()
	if v := versionText.FindString(string(out)); err == nil && v != "" {
		return v
	}
	return "version unknown"
}

// older compares dotted numbers: 7.2.22 is not older than 7.2.
func older(have, want string) bool {
	h, w := strings.Split(have, "."), strings.Split(want, ".")
	for i := range w {
		if i >= len(h) {
			return true
		}
		a, errA := strconv.Atoi(h[i])
		b, errB := strconv.Atoi(w[i])
		if errA != nil || errB != nil {
			return true
		}
		if a != b {
			return a < b
		}
	}
	return false
}

// checkHeaders looks for the libraries that the kernel's host programs need.
func checkHeaders(distro string) Check {
	c := Check{Name: "libelf headers", Status: "ok", Found: "/usr/include/libelf.h"}
	if _, err := os.Stat(c.Found); err != nil {
		names := pkgs("libelf-dev libssl-dev", "elfutils-libelf-devel openssl-devel", "libelf openssl")
		c.Status, c.Found, c.Cure = "lack", "not found: objtool needs them", installers[distro]+names[distro]
	}
	return c
}

func checkKVM() Check {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return Check{Name: "/dev/kvm", Status: "note", Found: "cannot be opened; needed for nothing, clock: real is faster with it"}
	}
	f.Close()
	return Check{Name: "/dev/kvm", Status: "ok", Found: "usable, under clock: real"}
}

func checkMemory() Check {
	const need = 2 << 30 // a kernel build with two jobs and two guests
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return Check{Name: "memory", Status: "note", Found: err.Error()}
	}
	total := uint64(info.Totalram) * uint64(info.Unit)
	return sized("memory", total, need, "")
}

func checkDisk() Check {
	const need = 6 << 30 // one kernel source and its build, both architectures
	dir, err := new(kernels.Cache).Path("kernels", "x")
	if err != nil {
		return Check{Name: "disk", Status: "lack", Found: err.Error(), Cure: "set XDG_CACHE_HOME"}
	}
	for {
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err == nil {
			return sized("disk of the cache", st.Bavail*uint64(st.Bsize), need, "kmemgate cache prune")
		}
		if i := strings.LastIndexByte(dir, '/'); i > 0 {
			dir = dir[:i]
			continue
		}
		return Check{Name: "disk of the cache", Status: "note", Found: "size unknown"}
	}
}

func sized(name string, have, need uint64, cure string) Check {
	c := Check{Name: name, Status: "ok", Found: fmt.Sprintf("%.1f GB", float64(have)/1e9)}
	if have < need {
		c.Status, c.Cure = "lack", cure
		c.Found += fmt.Sprintf(", want %.1f GB", float64(need)/1e9)
	}
	return c
}

func checkCache() Check {
	var cache kernels.Cache
	entries, err := cache.List()
	if err != nil {
		return Check{Name: "cache", Status: "lack", Found: err.Error(), Cure: "kmemgate cache prune --all"}
	}
	return Check{Name: "cache", Status: "ok", Found: fmt.Sprintf("%d entries", len(entries))}
}

// distribution reads ID and ID_LIKE of os-release, down to one that has an
// installer.
func distribution(osRelease string) string {
	text, err := os.ReadFile(osRelease)
	if err != nil {
		return "debian"
	}
	var names []string
	for _, line := range strings.Split(string(text), "\n") {
		key, value, _ := strings.Cut(line, "=")
		if key == "ID" || key == "ID_LIKE" {
			names = append(names, strings.Fields(strings.Trim(value, `"'`))...)
		}
	}
	for _, n := range names {
		if _, ok := installers[n]; ok {
			return n
		}
	}
	return "debian"
}

func count(checks []Check, status string) (n int) {
	for _, c := range checks {
		if c.Status == status {
			n++
		}
	}
	return n
}

func printChecks(w io.Writer, checks []Check, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(checks)
	}
	for _, c := range checks {
		fmt.Fprintf(w, "%-5s %-24s %s\n", c.Status, c.Name, c.Found)
		if c.Cure != "" {
			fmt.Fprintf(w, "      %-24s %s\n", "", c.Cure)
		}
	}
	return nil
}
