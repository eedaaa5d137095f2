package harness

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"github.com/kmemgate/kmemgate/initramfs/wire"
)

// templateFormat changes with what a template's entry holds.
const templateFormat = 2

// templateKey names everything that made a template: another kernel, agent,
// QEMU or argument makes another one.
func (h *Host) templateKey(ctx context.Context, p plan) (string, error) {
	version, err := h.version(ctx, p.qemu)
	if err != nil {
		return "", err
	}
	p.ram, p.initrd, p.job, p.con, p.port, p.extra = "ram", "initrd", "job", "con", "port", nil
	parts := []any{templateFormat, wire.Version, version, p.kernelArgs(), p.args()}
	if p.kvm { // the guest sees the host's processor
		parts = append(parts, hostCPU())
	}
	image := p.Kernel.Key
	if image == "" {
		if image, err = hashFiles(p.Kernel.Image); err != nil {
			return "", hostError("", "kernel: %w", err)
		}
	}
	initrd, err := h.hashOnce(p.Initrd)
	if err != nil {
		return "", hostError("", "initramfs: %w", err)
	}
	text, err := json.Marshal(append(parts, image, initrd))
	if err != nil {
		return "", fmt.Errorf("template key: %w", err)
	}
	sum := sha256.Sum256(text)
	return fmt.Sprintf("%s-%s-%s", safeKey(p.Kernel.Release), p.Kernel.Arch, hex.EncodeToString(sum[:8])), nil
}

// safeKey makes a kernel's release fit for a file name.
func safeKey(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_.+~-", r) {
			return r
		}
		return '_'
	}, "k"+s)
}

// version is QEMU's own, with the distribution's.
// Example: QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)
func (h *Host) version(ctx context.Context, program string) (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if v, ok := h.versions[program]; ok {
		return v, nil
	}
	out, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		return "", hostError("", "%s --version: %w", program, err)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	if err := checkQEMU(line); err != nil {
		return "", hostError("install a newer one, `kmemgate doctor` tells how", "%s: %w", program, err)
	}
	if h.versions == nil {
		h.versions = map[string]string{}
	}
	h.versions[program] = line
	return line, nil
}

// checkQEMU refuses a QEMU before 7.2: the oldest that was tried, whose clones
// repeat to the byte.
func checkQEMU(line string) error {
	var major, minor int
	if _, err := fmt.Sscanf(line, "QEMU emulator version %d.%d", &major, &minor); err != nil {
		return fmt.Errorf("--version says %.80q: that is no QEMU", line)
	}
	if major < 7 || major == 7 && minor < 2 {
		return fmt.Errorf("version %d.%d is too old, 7.2 is the oldest that works", major, minor)
	}
	return nil
}

// hashOnce is hashFiles, once for the life of the host while the files stay as
// they are: every run asks for its template.
func (h *Host) hashOnce(paths []string) (string, error) {
	var state strings.Builder
	for _, path := range paths {
		st, err := os.Stat(path)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&state, "%s\x00%d %d\x00", path, st.Size(), st.ModTime().UnixNano())
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if sum, ok := h.hashes[state.String()]; ok {
		return sum, nil
	}
	sum, err := hashFiles(paths...)
	if err != nil {
		return "", err
	}
	if h.hashes == nil {
		h.hashes = map[string]string{}
	}
	h.hashes[state.String()] = sum
	return sum, nil
}

func hashFiles(paths ...string) (string, error) {
	sum := sha256.New()
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return "", err
		}
		n, err := io.Copy(sum, f)
		f.Close()
		if err != nil {
			return "", err
		}
		fmt.Fprintf(sum, "\x00%d\x00", n) // so that no two lists look alike
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// hostCPU is what a KVM guest can see of the host's processor.
func hostCPU() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	var seen []string
	for line := range strings.Lines(string(text)) {
		name, _, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(name) {
		case "model name", "flags", "stepping", "microcode", "CPU part", "Features", "CPU revision":
			seen = append(seen, line)
		case "": // the first processor is enough
			return strings.Join(seen, "")
		}
	}
	return strings.Join(seen, "")
}
