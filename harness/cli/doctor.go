package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/kmemgate/kmemgate/harness"
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

func newDoctor() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "doctor",
		Short:   "Tell what this machine lacks, and the command that mends it",
		Example: "  kmemgate doctor\n  kmemgate doctor --json | jq '.[]|select(.status==\"lack\")'",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			checks := examine(c.Context(), kernels.Distribution("/etc/os-release"))
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
func examine(ctx context.Context, distro string) []Check {
	checks := append(checkTools(distro), checkHeaders(distro, "/usr/include")...)
	checks = append(checks, checkKVM(new(harness.Host).KVM(ctx, hostArch())), checkTerminals("/dev/ptmx"), checkMemory(), checkDisk())
	checks = append(checks, checkCache()...)
	return append(checks, checkNetwork(ctx)...)
}

func checkTools(distro string) []Check {
	var checks []Check
	for _, t := range tools() {
		checks = append(checks, t.check(distro))
	}
	return checks
}

// checkKVM words what a start of QEMU under KVM has shown (harness.Host.KVM).
func checkKVM(lack error) Check {
	c := Check{Name: "/dev/kvm", Status: "note"}
	switch {
	case lack == nil:
		c.Status, c.Found = "ok", "works, under clock: real"
	case errors.Is(lack, fs.ErrPermission):
		c.Found, c.Cure = "no right to open it; only clock: real would be faster with it", "sudo usermod -aG kvm $USER (and log in again)"
	case errors.Is(lack, fs.ErrNotExist):
		c.Found = "not there; needed for nothing, clock: real is faster with it"
		c.Cure = "sudo modprobe kvm_intel || sudo modprobe kvm_amd (in a virtual machine its host must allow it)"
	default:
		c.Found = "does not work, and clock: real does without: " + lack.Error()
	}
	return c
}

// checkTerminals opens a pseudo terminal: a guest's console is one. A chroot may have none.
func checkTerminals(ptmx string) Check {
	c := Check{Name: ptmx, Status: "ok", Found: "works"}
	f, err := os.OpenFile(ptmx, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		c.Status, c.Found = "lack", err.Error()+": guests' consoles are pseudo terminals"
		c.Cure = "sudo mount -t devpts devpts /dev/pts"
		return c
	}
	f.Close()
	return c
}

// cureMemory makes swap of a file.
const cureMemory = "sudo fallocate -l 2G /swapfile && sudo chmod 600 /swapfile && sudo mkswap /swapfile && sudo swapon /swapfile"

func checkMemory() Check {
	const need = 2 << 30 // a kernel build with two jobs and two guests
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return Check{Name: "memory", Status: "note", Found: err.Error()}
	}
	total := (uint64(info.Totalram) + uint64(info.Totalswap)) * uint64(info.Unit)
	return sized("memory and swap", total, need, cureMemory)
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

// checkCache compares every entry with what it held when it was made. A run that
// needs a damaged one makes it again, so it is a note.
func checkCache() []Check {
	var cache kernels.Cache
	entries, err := cache.List()
	if err != nil {
		return []Check{{Name: "cache", Status: "lack", Found: err.Error(), Cure: "kmemgate cache prune --all"}}
	}
	checks := []Check{{Name: "cache", Status: "ok", Found: fmt.Sprintf("%d entries", len(entries))}}
	for _, e := range entries {
		if err := e.Damage(); err != nil {
			checks = append(checks, Check{Name: "cache " + e.Kind + "/" + e.Key, Status: "note",
				Found: "damaged: " + err.Error() + ": the next run that needs it makes it again", Cure: "kmemgate cache prune --all"})
		}
	}
	return checks
}

// checkNetwork asks where sources and modules come from. Nothing of it is needed
// by a run that finds all it needs in the cache.
func checkNetwork(ctx context.Context) []Check {
	var checks []Check
	for _, place := range kernels.Places(ctx) {
		c := Check{Name: place.Name, Status: "ok", Found: "answers"}
		if place.Err != nil {
			c.Status, c.Found = "note", place.Err.Error()
			c.Cure = "connect this machine to the network (or set https_proxy); a run can do without what is in the cache"
		}
		checks = append(checks, c)
	}
	return checks
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
		fmt.Fprintf(w, "%-5s %-26s %s\n", c.Status, c.Name, c.Found)
		if c.Cure != "" {
			fmt.Fprintf(w, "      %-26s %s\n", "", c.Cure)
		}
	}
	return nil
}
