package harness

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cavaliergopher/cpio"
	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/initramfs/wire"
	"github.com/kmemgate/kmemgate/kernels"
)

// treeVar names the variable that holds a kernel's build tree, for tests
// against a kernel that is not in the cache.
func treeVar(arch string) string {
	return "KMEMGATE_TEST_TREE_" + strings.ToUpper(arch)
}

// testMachine is a machine with a real kernel and the real agent. It skips
// where there is none, but never in CI.
func testMachine(t testing.TB, arch string) Machine {
	t.Helper()
	if testing.Short() {
		t.Skip("boots a VM")
	}
	skip := t.Skipf
	if os.Getenv("CI") == "true" {
		skip = t.Fatalf
	}
	if _, err := exec.LookPath(arches[arch].program); err != nil {
		skip("no QEMU: %v", err)
	}
	tree := os.Getenv(treeVar(arch))
	if tree == "" {
		skip("no kernel for %s: set %s to a build tree with kmemleak-test", arch, treeVar(arch))
	}
	image := map[string]string{"x86_64": "vmlinux", "arm64": "arch/arm64/boot/Image"}[arch]
	release, err := os.ReadFile(filepath.Join(tree, "include/config/kernel.release"))
	require.NoError(t, err)
	return Machine{
		Kernel: &kernels.Kernel{
			Release: strings.TrimSpace(string(release)), Arch: arch,
			Image: filepath.Join(tree, image), Build: tree,
		},
		Initrd: []string{testInitrd(t, arch, tree)},
	}
}

// testInitrd is the agent and the canary.
func testInitrd(t testing.TB, arch, tree string) string {
	t.Helper()
	agent := filepath.Join(t.TempDir(), "agent")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", agent, "../initramfs/agent")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+arches[arch].goarch)
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	archive := newc(t, map[string][]byte{
		"init":                            readFile(t, agent),
		"lib/kmemgate/kmemleak-test.ko":   canaryModule(t, tree),
		"lib/kmemgate/kmemgate_noscan.ko": readFile(t, filepath.Join(tree, "../stripped/kmemgate_noscan.ko")),
	})
	path := filepath.Join(t.TempDir(), "initrd")
	require.NoError(t, os.WriteFile(path, archive, 0o644))
	return path
}

// canaryModule is kmemleak-test without its debug information.
func canaryModule(t testing.TB, tree string) []byte {
	t.Helper()
	return readFile(t, filepath.Join(tree, "samples/kmemleak/kmemleak-test.ko"))
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return b
}

// newc writes an archive; parents come first, else the kernel drops a file.
func newc(t testing.TB, files map[string][]byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := cpio.NewWriter(&buf)
	made := map[string]bool{".": true}
	var dirs func(dir string)
	dirs = func(dir string) {
		if made[dir] {
			return
		}
		dirs(filepath.Dir(dir))
		made[dir] = true
		require.NoError(t, w.WriteHeader(&cpio.Header{Name: dir, Mode: cpio.TypeDir | 0o755}))
	}
	names := []string{"job.json", "init"} // the job's archive begins with job.json
	for name := range files {
		if name != "job.json" && name != "init" {
			names = append(names, name)
		}
	}
	for _, name := range names {
		b, ok := files[name]
		if !ok {
			continue
		}
		dirs(filepath.Dir(name))
		require.NoError(t, w.WriteHeader(&cpio.Header{Name: name, Mode: cpio.TypeReg | 0o755, Size: int64(len(b))}))
		_, err := w.Write(b)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return buf.Bytes()
}

// jobRegion lays a job and its files into a region.
func jobRegion(t testing.TB, job wire.Job, files map[string][]byte) []byte {
	t.Helper()
	text, err := json.Marshal(job)
	require.NoError(t, err)
	all := map[string][]byte{"job.json": text}
	for name, b := range files {
		all[name] = b
	}
	archive := newc(t, all)
	return append(wire.EncodeHeader(archive), archive...)
}

// canaryJob loads kmemleak-test again, as the module under test.
func canaryJob(t testing.TB, m Machine) []byte {
	t.Helper()
	job := wire.Job{Modules: []wire.JobModule{{Name: "kmemleak_test", File: "modules/kmemleak-test.ko", UnderTest: true}}}
	return jobRegion(t, job, map[string][]byte{"modules/kmemleak-test.ko": canaryModule(t, m.Kernel.Build)})
}
