package cli

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kmemgate/kmemgate/kernels"
)

// tool is a program that kmemgate calls. Where it comes from, package kernels
// knows (InstallCommand).
type tool struct {
	program string
	version string // flag that prints the version; empty: not asked
	oldest  string // oldest version that works; empty: any
	why     string
	// optional tools make some runs possible, or faster.
	optional bool
}

// tools are all of them: what a run on this machine's own architecture cannot do
// without, and then what it can. The other architecture's are of the second kind,
// QEMU and compiler alike.
func tools() []tool {
	own, other := hostArch(), "arm64"
	if own == other {
		other = "x86_64"
	}
	list := []tool{
		{program: "go", version: "version", oldest: "1.26", why: "compiles the agent"},
		{program: qemuOf[own], version: "--version", oldest: "7.2", why: own + " guests"},
		{program: "setsid", why: "starts QEMU in a session of its own"},
		{program: "setpriv", why: "ends QEMU with its parent"},
	}
	for _, program := range kernels.Tools(own, false) {
		list = append(list, tool{program: program, why: "builds kernels and modules"})
	}
	list = append(list, tool{program: qemuOf[other], version: "--version", oldest: "7.2", why: other + " guests", optional: true})
	for _, program := range kernels.Tools(other, false) {
		list = append(list, tool{program: program, why: "builds for " + other, optional: true})
	}
	list = append(list,
		tool{program: "apt-get", why: "finds Debian's kernel sources, where kernel.org has none", optional: true},
		tool{program: "dpkg-deb", why: "unpacks them", optional: true},
		tool{program: "cpio", why: "kernels with CONFIG_IKHEADERS", optional: true},
		tool{program: "patch", why: "PATCH of dkms.conf", optional: true},
		tool{program: "ccache", why: "makes the second kernel build fast", optional: true},
		tool{program: "git", why: "--against, and edited kernel trees", optional: true})
	var once []tool
	for _, t := range list {
		if !slices.ContainsFunc(once, func(have tool) bool { return have.program == t.program }) {
			once = append(once, t)
		}
	}
	return once
}

// qemuOf is the program that runs guests of an architecture.
var qemuOf = map[string]string{"x86_64": "qemu-system-x86_64", "arm64": "qemu-system-aarch64"}

func (t tool) check(distro string) Check {
	c := Check{Name: t.program, Status: "ok", Cure: kernels.InstallCommand(distro, t.program)}
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
	if missing := missingDevices(t, path); len(missing) > 0 {
		c.Status, c.Found = lack, fmt.Sprintf("%s: built without %s", path, strings.Join(missing, ", "))
		return c
	}
	c.Cure = ""
	return c
}

// guestDevices are those that every guest has.
var guestDevices = []string{"virtio-serial-pci", "virtserialport", "ivshmem-plain"}

// missingDevices asks QEMU for its devices; what is no QEMU lacks none.
//
// Example: name "virtio-serial-pci", bus PCI, alias "virtio-serial"
func missingDevices(t tool, path string) (missing []string) {
	if !strings.HasPrefix(t.program, "qemu-") {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "-machine", "none", "-device", "help").CombinedOutput()
	if err != nil {
		return []string{"an answer to -device help"}
	}
	for _, device := range guestDevices {
		if !strings.Contains(string(out), `name "`+device+`"`) {
			missing = append(missing, device)
		}
	}
	return missing
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

// checkHeaders looks for what the host programs of a kernel's build include.
func checkHeaders(distro, root string) []Check {
	var checks []Check
	for _, header := range []string{"libelf.h", "openssl/opensslv.h"} {
		c := Check{Name: header, Status: "lack", Found: "not found: a kernel's build includes it", Cure: kernels.InstallCommand(distro, header)}
		// Debian keeps some in a folder for its architecture.
		found, _ := filepath.Glob(filepath.Join(root, "*-linux-gnu", header))
		if _, err := os.Stat(filepath.Join(root, header)); err == nil || len(found) > 0 {
			c.Status, c.Found, c.Cure = "ok", "found", ""
		}
		checks = append(checks, c)
	}
	return checks
}
