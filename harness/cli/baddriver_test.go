package cli

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/kernels"
	"github.com/kmemgate/kmemgate/reports"
	"github.com/kmemgate/kmemgate/scenarios"
)

const goodModule = `// SPDX-License-Identifier: GPL-2.0
#include <linux/module.h>
static int __init good_init(void) { return 0; }
static void __exit good_exit(void) { }
module_init(good_init);
module_exit(good_exit);
MODULE_DESCRIPTION("does nothing");
MODULE_LICENSE("GPL");
`

// busyModule brings a file system: while that is mounted, it cannot go.
const busyModule = `// SPDX-License-Identifier: GPL-2.0
#include <linux/fs.h>
#include <linux/fs_context.h>
#include <linux/module.h>
static int busy_fill(struct super_block *sb, struct fs_context *fc)
{
	static const struct tree_descr files[] = { { "" } };

	return simple_fill_super(sb, 0x62757379, files);
}
static int busy_get_tree(struct fs_context *fc) { return get_tree_nodev(fc, busy_fill); }
static const struct fs_context_operations busy_ops = { .get_tree = busy_get_tree };
static int busy_context(struct fs_context *fc) { fc->ops = &busy_ops; return 0; }
static struct file_system_type busy_type = {
	.owner = THIS_MODULE, .name = "busy", .init_fs_context = busy_context, .kill_sb = kill_anon_super,
};
static int __init busy_init(void) { return register_filesystem(&busy_type); }
static void __exit busy_exit(void) { unregister_filesystem(&busy_type); }
module_init(busy_init);
module_exit(busy_exit);
MODULE_DESCRIPTION("is busy while mounted");
MODULE_LICENSE("GPL");
`

func dkmsConf(more string) string { return "PACKAGE_NAME=good\nPACKAGE_VERSION=1\n" + more }

// badDrivers is the table of docs/drivers.md: what a driver's directory holds,
// the exit status and a part of the one line that says why.
var badDrivers = []struct {
	name   string
	files  map[string]string
	status int
	said   string
}{
	{"nothing to build", map[string]string{"README": "x"}, 2, "no dkms.conf, no Kbuild and no Makefile"},
	{"directories to build below", map[string]string{"a/Kbuild": "obj-m := a.o\n", "b/Makefile": "all:\n", "doc/README": "x"}, 2,
		"no Makefile here, but below: name one of its directories, or write build: [a, b] into its kmemgate.yml"},
	{"builds no module", map[string]string{"Makefile": "all:\n"}, 2, "builds no module: its Kbuild or Makefile must set obj-m"},
	{"dkms.conf exits", map[string]string{"dkms.conf": dkmsConf("exit 0\n"), "good.c": goodModule}, 2, "dkms.conf: exits before its end"},
	{"dkms.conf loops", map[string]string{"dkms.conf": dkmsConf("while :; do :; done\n"), "good.c": goodModule}, 2, "dkms.conf: did not end within 10s"},
	{"dkms.conf says nothing", map[string]string{"dkms.conf": "MAKE=make\n", "good.c": goodModule}, 2, `dkms.conf: PACKAGE_NAME is ""`},
	{"device that is not there", map[string]string{"Makefile": "obj-m := good.o\n", "good.c": goodModule, scenarios.FileName: "devices: [nvm]\n"}, 2, `has no device "nvm" (did you mean nvme`},
	{"for another architecture", map[string]string{"dkms.conf": dkmsConf("BUILD_EXCLUSIVE_ARCH=s390x\n"), "good.c": goodModule}, 3, `BUILD_EXCLUSIVE_ARCH="s390x", and this is`},
	{"for another kernel", map[string]string{"Makefile": "obj-m := good.o\n", "good.c": "#include <linux/no-longer.h>\n" + goodModule}, 3, "the driver is written for another kernel: name that one with --kernel"},
	{"Makefile asks", map[string]string{"Makefile": "all:\n\t@read -p 'Go on? ' answer && test $$answer = y\n", "good.c": goodModule}, 3, "its Makefile asks, and nobody answers here"},
	{"Makefile asks for ever", map[string]string{"Makefile": "all:\n\t@until test \"$$answer\" = y; do echo 'Go on? [y/n]'; read answer; done\n"}, 3, `printed "Go on? [y/n]" 1000 times: does it wait for an answer?`},
	{"does not compile", map[string]string{"Makefile": "obj-m := good.o\n", "good.c": goodModule + "int f(void) { return }\n"}, 3, "good.c:9:"},
	{"another kernel's vermagic", map[string]string{"Makefile": "obj-m := good.o\n", "good.c": goodModule + "MODULE_INFO(vermagic, \"5.4.0 SMP mod_unload \");\n"}, 3, "version magic '5.4.0 SMP mod_unload ' should be '"},
	{"refuses to load", map[string]string{"Makefile": "obj-m := good.o\n", "good.c": strings.Replace(goodModule, "return 0;", `pr_err("good: no firmware\n"); return -ENOENT;`, 1)}, 3, "good: no firmware"},
	{"unresolvable symbol", map[string]string{"Makefile": "obj-m := good.o\n", "good.c": strings.Replace(goodModule, "return 0;", "extern int nowhere_at_all(void); return nowhere_at_all();", 1)}, 3, "nowhere_at_all: this kernel's source has no such thing"},
	{"parts the wrong way round", map[string]string{
		"core/Kbuild": "obj-m := core.o\n", "core/core.c": goodModule + "int k_core(void);\nint k_core(void) { return 0; }\nEXPORT_SYMBOL_GPL(k_core);\n",
		"client/Kbuild": "obj-m := client.o\n", "client/client.c": strings.Replace(goodModule, "return 0;", "extern int k_core(void); return k_core();", 1),
		scenarios.FileName: "build: [client, core]\n",
	}, 3, "core exports k_core: name it before client in build: of kmemgate.yml"},
	{"a part that is not built", map[string]string{
		"core/Kbuild": "obj-m := core.o\n", "core/core.h": "int k_core(void);\n",
		"core/core.c":   goodModule + "#include \"core.h\"\nint k_core(void) { return 0; }\nEXPORT_SYMBOL_GPL(k_core);\n",
		"client/Kbuild": "obj-m := client.o\n", "client/client.c": "#include \"../core/core.h\"\n" + strings.Replace(goodModule, "return 0;", "return k_core();", 1),
		scenarios.FileName: "build: client\n",
	}, 3, "(../core exports k_core, and is not built): run the directory that holds both, with build: in its kmemgate.yml: core before what uses it"},
	{"named like the kernel's own", map[string]string{"Makefile": "obj-m := crc32.o\n", "crc32.c": goodModule}, 3, "module crc32 has the name of one that is built into kernel"},
	{"mount left behind", map[string]string{"Makefile": "obj-m := busy.o\n", "busy.c": busyModule, scenarios.FileName: "exercise: mkdir /mnt && mount -t busy none /mnt\n"}, 3, "its reference count is 1; what may hold it: none mounted on /mnt (busy)"},
	{"script that never ends", map[string]string{"Makefile": "obj-m := good.o\n", "good.c": goodModule, scenarios.FileName: "exercise: sleep 100000\ntimeout: 5s\n"}, 3, "exercise"},
	{"script that fails", map[string]string{"Makefile": "obj-m := good.o\n", "good.c": goodModule, scenarios.FileName: "exercise: cat /nowhere\n"}, 3, "exercise"},
}

func TestBadDrivers(t *testing.T) {
	needGuest(t)
	for _, bad := range badDrivers {
		t.Run(bad.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "driver")
			require.NoError(t, os.Mkdir(dir, 0o755))
			for name, text := range bad.files {
				require.NoError(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755))
				require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
			}
			out := filepath.Join(t.TempDir(), "out")
			var stdout, stderr bytes.Buffer
			status := Main([]string{"run", dir, "--out", out, "--format", "json"}, nil, &stdout, &stderr)
			require.Equal(t, bad.status, status, "stdout: %s\nstderr: %s", &stdout, &stderr)
			said := stderr.String()
			if bad.status != exitUsage {
				report, err := reports.ReadJSON(&stdout)
				require.NoError(t, err)
				said = report.Runs[0].Reason + ": " + report.Runs[0].Detail
			}
			require.Contains(t, said, bad.said)
			if bad.status == exitUsage {
				require.Equal(t, 1, strings.Count(said, "kmemgate: "), "one line: %s", said)
			}
			left := 0
			require.NoError(t, filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
				if err == nil && !d.IsDir() {
					left++
				}
				return err
			}))
			require.Equal(t, len(bad.files), left, "the driver's directory stays as it is")
		})
	}
}

// The compiler's message is told once, as it stands, and what make makes of it
// not at all.
func TestCompilerMessageOnce(t *testing.T) {
	needGuest(t)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "Makefile"), []byte("obj-m := good.o\n"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "good.c"), []byte(goodModule+"int f(void) { return }\n"), 0o644))
	var said bytes.Buffer
	status := Main([]string{"run", dir, "--out", filepath.Join(t.TempDir(), "out")}, nil, &said, &said)
	require.Equal(t, exitNone, status, "%s", &said)
	require.Equal(t, 1, strings.Count(said.String(), "good.c:9:22: error: expected expression"), "%s", &said)
	require.NotContains(t, said.String(), "***")
}

// A Makefile and a C file are all that it takes.
func TestBareDriver(t *testing.T) {
	needGuest(t)
	const line = "	if (!kmalloc(100, GFP_KERNEL)) return -ENOMEM;\n"
	leaky := strings.Replace(goodModule, "(void) { return 0; }", "(void)\n{\n"+line+"	return 0;\n}", 1)
	leaky = strings.Replace(leaky, "#include <linux/module.h>\n", "#include <linux/module.h>\n#include <linux/slab.h>\n", 1)
	for _, driver := range []struct {
		name, source string
		status       int
		said         string
	}{
		{"clean", goodModule, exitClean, "CLEAN"},
		{"leaky", leaky, exitLeaks, "memory leak in good_init  good.c:6"},
	} {
		t.Run(driver.name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, "Makefile"), []byte("obj-m := good.o\n"), 0o644))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "good.c"), []byte(driver.source), 0o644))
			out := filepath.Join(t.TempDir(), "out")
			t.Chdir(dir)
			var stdout, stderr bytes.Buffer
			status := Main([]string{"run", "--out", out}, nil, &stdout, &stderr)
			require.Equal(t, driver.status, status, "stdout: %s\nstderr: %s", &stdout, &stderr)
			require.Contains(t, stdout.String(), driver.said)
		})
	}
}

// skipOnDesk skips where something is missing on a desk, never in CI.
func skipOnDesk(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// needTools wants what a build needs, and more.
func needTools(t *testing.T, more ...string) {
	t.Helper()
	for _, tool := range append(kernels.Tools(hostArch(), false), more...) {
		if _, err := exec.LookPath(tool); err != nil {
			skipOnDesk(t, "%s: not found: kmemgate doctor tells how to install it", tool)
		}
	}
}

// needGuest wants QEMU and the default kernel.
func needGuest(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("boots VMs")
	}
	needTools(t, map[string]string{"x86_64": "qemu-system-x86_64", "arm64": "qemu-system-aarch64"}[hostArch()])
	builder := new(kernels.Builder)
	defer builder.Close()
	if _, err := builder.Path(t.Context(), kernels.Spec{Source: scenarios.DefaultKernel, Arch: hostArch()}); err != nil {
		skipOnDesk(t, "%v", err)
	}
}
