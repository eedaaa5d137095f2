package leaktest

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/kmemgate/kmemgate/harness"
	"github.com/kmemgate/kmemgate/kernels"
	"github.com/kmemgate/kmemgate/scenarios"
)

// buildTime is what a kernel build may take on two cores, with the download.
const buildTime = 15 * time.Minute

// missing skips on a desk and fails in CI.
func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

func needQEMU(t *testing.T, arch string) {
	t.Helper()
	program := map[string]string{"x86_64": "qemu-system-x86_64", "arm64": "qemu-system-aarch64"}[arch]
	if program == "" {
		t.Fatalf("architecture %q: want x86_64 or arm64", arch)
	}
	if _, err := exec.LookPath(program); err != nil {
		missing(t, "%s not found: kmemgate doctor tells how to install it", program)
	}
}

// needKernel ends the test at once where the scenario's kernel is still to be
// built and either nobody wants that here or go test's deadline would come
// before the end of it.
func (opt Options) needKernel(t *testing.T, gate *harness.Gate, s *scenarios.Scenario, p pair) {
	t.Helper()
	if _, err := gate.Built(t.Context(), s, p.kernel, p.arch); err == nil {
		return
	}
	why := ""
	if deadline, ok := t.Deadline(); ok && time.Until(deadline) < buildTime {
		why = ", and go test's -timeout is too short for a kernel build"
	} else if !opt.BuiltOnly {
		return
	}
	missing(t, "kernel %s for %s%s is not built%s: type\n\t%s", p.kernel, p.arch, with(s.Kconfig), why, buildCommand(s, p))
}

func with(kconfig []string) string {
	if len(kconfig) == 0 {
		return ""
	}
	return " with " + strings.Join(kconfig, ", ")
}

// buildCommand builds the kernel; a kernel of the scenario's own is built by a
// run of the scenario.
func buildCommand(s *scenarios.Scenario, p pair) string {
	if plainKernel(s) {
		return "kmemgate kernel build " + kernels.Quote([]string{p.kernel + "/" + p.arch})
	}
	return "kmemgate run " + kernels.Quote([]string{s.Dir, "--kernel", p.kernel, "--arch", p.arch})
}
