package kernels

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// moduleMakefile plays the tree of a built kernel: kbuild's way with M= in a
// few lines, which builds a module of every C file below.
const moduleMakefile = `
all modules:
	@for c in $$(find $(M) -name '*.c'); do $(or $(CC),gcc) $(KCFLAGS) -I$(PWD) -Werror=implicit-function-declaration -c $$c -o $${c%.c}.ko || exit 1; done
`

// moduleKernel is a kernel to build modules for.
func moduleKernel(t *testing.T) (*Builder, *Kernel) {
	t.Helper()
	needTools(t)
	b, _ := testBuilder(t)
	tree := t.TempDir()
	write(t, tree, "Makefile", moduleMakefile)
	write(t, tree, ".config", "CONFIG_VIDEO_DEV=m\nCONFIG_NET=y\n# CONFIG_I2C is not set\n")
	return b, &Kernel{Release: "6.12.7", Arch: hostArch(t), Key: "k", Build: tree, Source: tree, Config: filepath.Join(tree, ".config")}
}

func driver(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "drv")
	for name, text := range files {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755))
	}
	return dir
}

// tree is all that a directory holds.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			fmt.Fprintf(&all, "%s %q\n", path, text)
		}
		return err
	}))
	return all.String()
}

func names(modules []Module) string {
	var all []string
	for _, m := range modules {
		all = append(all, m.Name)
	}
	return strings.Join(all, " ")
}

func TestExternal(t *testing.T) {
	m := fakeModule("m", "6.12.7", "")
	for name, c := range map[string]struct {
		files     map[string]string
		want, err string
	}{
		"kbuild":             {files: map[string]string{"Makefile": "obj-m += m.o\n", "m.c": m}, want: "m"},
		"PWD":                {files: map[string]string{"Makefile": "obj-m += m.o\nccflags-y := -I$(PWD)\n", "local.h": "", "m.c": "#include <local.h>\n" + m}, want: "m"},
		"dependency":         {files: map[string]string{"Kbuild": "obj-m += m.o n.o\n", "m.c": fakeModule("m", "6.12.7", "n"), "n.c": fakeModule("n", "6.12.7", "")}, want: "n m"},
		"Makefile":           {files: map[string]string{"Makefile": "ifneq ($(KERNELRELEASE),)\n$(error kbuild only)\nendif\nall:\n\t$(MAKE) -C $(KSRC) M=$(CURDIR)/src modules\n\tcp src/m.ko .\n", "src/m.c": m}, want: "m"},
		"every name":         {files: map[string]string{"Makefile": "all:\n\ttest -n '$(KDIR)$(FOO)' -a '$(KDIR)' = '$(SYSSRC)' -a '$(KERNEL_SRC)' = '$(KERNELPATH)' -a '$(KERNELDIR)' = '$(KERNEL_DIR)' -a '$(KERNEL_TREE)' = '$(KSRC)' -a -z '$(KERNEL)$(KERNELRELEASE)'\n\t$(MAKE) -C $(KDIR) M=$(CURDIR)\n", "m.c": m}, want: "m"},
		"headers made first": {files: map[string]string{"Makefile": "obj-m += m.o\nall: gen.h\n\t$(MAKE) -C $(KDIR) M=$(CURDIR)\ngen.h:\n\techo '#define GEN 1' > $@\n", "m.c": "#include \"gen.h\"\n" + m}, want: "m"},
		"reaches up":         {files: map[string]string{"../common.h": "", "Makefile": "obj-m += m.o\n", "m.c": "#include \"../common.h\"\n" + m}, want: "m"},
		"does not compile":   {files: map[string]string{"Makefile": "obj-m += m.o\n", "m.c": "int f(void) { return g(); }\n"}, err: "m.c:1:22: error: implicit declaration"},
		"asks":               {files: map[string]string{"Makefile": "all:\n\t@read -r answer && test $$answer = y\n"}, err: "its Makefile asks, and nobody answers here"},
		"builds nothing":     {files: map[string]string{"Makefile": "all:\n"}, err: "builds no module"},
		"/lib/modules":       {files: map[string]string{"Makefile": "all:\n\tcp m.txt m.c\n\tmake -C /lib/modules/$(shell uname -r)/build M=$(CURDIR) modules\n", "m.txt": m}, want: "m"},
		"uname -r":           {files: map[string]string{"Makefile": "V := $(shell uname -r)\nall:\n\ttest $(V) = 6.12.7 && test -n \"$$(uname -m)\"\n\tmake -C $(KDIR) M=$(CURDIR)\n", "m.c": m}, want: "m"},
		"nothing there":      {files: map[string]string{"README": ""}, err: "no dkms.conf, no Kbuild and no Makefile"},
	} {
		t.Run(name, func(t *testing.T) {
			b, k := moduleKernel(t)
			dir := driver(t, c.files)
			before := tree(t, filepath.Dir(dir))
			modules, err := b.External(t.Context(), k, dir, ModuleOptions{})
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				require.NotContains(t, err.Error(), "\n")
			} else {
				require.NoError(t, err)
			}
			require.Equal(t, c.want, names(modules))
			require.Equal(t, before, tree(t, filepath.Dir(dir)), "the driver's tree must stay as it is")
		})
	}
}

// The kernel would say "File exists" and no more.
func TestExternalWithTheNameOfABuiltIn(t *testing.T) {
	b, k := moduleKernel(t)
	write(t, k.Build, "modules.builtin", "kernel/lib/crc32.ko\nkernel/drivers/my-bus.ko\n")
	dir := driver(t, map[string]string{"Makefile": "obj-m += my_bus.o\n", "my_bus.c": fakeModule("my_bus", "6.12.7", "")})
	_, err := b.External(t.Context(), k, dir, ModuleOptions{})
	require.ErrorContains(t, err, "module my_bus has the name of one that is built into kernel 6.12.7")
	require.False(t, IsUsage(err))
}

// The debug information names the user's files, whatever the layout of the scratch copy.
func TestExternalNamesTheUsersFiles(t *testing.T) {
	b, k := moduleKernel(t)
	dir := driver(t, map[string]string{"dkms.conf": conf("m", ""), "m.c": fakeModule("m", "6.12.7", "")})
	modules, err := b.External(t.Context(), k, dir, ModuleOptions{})
	require.NoError(t, err)
	require.Contains(t, sourceFiles(t, modules[0].Path), filepath.Join(dir, "m.c"))
	require.False(t, sections(t, modules[0].Stripped)[".debug_info"])
}

// The driver's own option is passed to make, a kernel's in an ifdef around it is
// not: of a kernel that has it built in, CONFIG_NET=m would be a lie.
func TestExternalPassesADriversOwnOption(t *testing.T) {
	kernel := t.TempDir()
	write(t, kernel, "Kconfig", "config NET\n\tbool \"net\"\n")
	for text, want := range map[string]struct{ own, guards, passed []string }{
		"obj-$(CONFIG_FOO) += foo.o\nfoo-$(CONFIG_PART) += part.o\n":                        {own: []string{"FOO"}, passed: []string{"FOO"}},
		"obj-m += a.o\nobj-$(CONFIG_EXTRA) += b.o\n":                                        {},
		"ifdef CONFIG_NET\nobj-$(CONFIG_FOO) += foo.o\nendif\n":                             {[]string{"FOO"}, []string{"NET"}, []string{"FOO"}},
		"ifdef CONFIG_NET\nobj-$(CONFIG_FOO) += foo.o\nendif\nobj-$(CONFIG_BAR) += bar.o\n": {own: []string{"BAR", "FOO"}, passed: []string{"BAR", "FOO"}},
		"ifdef CONFIG_FOO\nobj-$(CONFIG_FOO) += foo.o\nendif\n":                             {own: []string{"FOO"}, passed: []string{"FOO"}},
		"ifneq ($(CONFIG_NET)$(X),)\nifdef CONFIG_MINE\nobj-m += foo.o\nendif\nendif\n":     {guards: []string{"MINE", "NET"}, passed: []string{"MINE"}},
		"obj-m := a.o\n": {},
	} {
		kind, names, err := inspect(driver(t, map[string]string{"Makefile": text}))
		require.NoError(t, err)
		require.Equal(t, kindKbuild, kind)
		require.ElementsMatch(t, want.own, names.own, text)
		require.ElementsMatch(t, want.guards, names.guards, text)
		passed, err := names.passed(&Kernel{Source: kernel, Arch: "x86_64"})
		require.NoError(t, err)
		require.ElementsMatch(t, want.passed, passed, text)
	}
}

// A dkms.conf that no kernel can mend is told of before one is built, one that
// looks into the kernel's tree only then.
func TestCheckDriver(t *testing.T) {
	for name, c := range map[string]struct{ conf, err string }{
		"good":               {conf: conf("m", `MAKE="make -C $kernel_source_dir M=$dkms_tree"`)},
		"knows the version":  {conf: conf("m", "[ $kernelver = 6.1.0 ] || exit 1")},
		"for another arch":   {conf: conf("m", "BUILD_EXCLUSIVE_ARCH=s390x")},
		"looks at the tree":  {conf: conf("m", `test -f "$kernel_source_dir/Makefile" || exit 1`)},
		"asks in a variable": {conf: conf("m", "V=$(cat $kernel_source_dir/version) || exit 1")},
		"reads a file":       {conf: ". ./names || exit 1"},
		"exits":              {conf: conf("m", `MAKE="make -C $kernel_source_dir"`+"\nexit 0"), err: "drv: dkms.conf: exits before its end"},
		"no name":            {conf: "MAKE=make", err: `drv: dkms.conf: PACKAGE_NAME is ""`},
	} {
		t.Run(name, func(t *testing.T) {
			dir := driver(t, map[string]string{"dkms.conf": c.conf, "names": conf("m", "")})
			err := CheckDriver(t.Context(), dir, "debian:6.1", "x86_64")
			if c.err == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.err)
			require.True(t, IsUsage(err))
		})
	}
}

func TestLikelyRelease(t *testing.T) {
	for kernel, want := range map[string]string{
		"6.1": "6.1.0", "debian:6.12": "6.12.0", "/src/linux-7.0/": "7.0.0", "6.12.117": "6.12.117",
		"https://example.org/linux-6.6.9.tar.xz#sha256=00": "6.6.9", "../linux": "6.12.0",
	} {
		require.Equal(t, want, likelyRelease(kernel), kernel)
	}
}

func TestSurroundings(t *testing.T) {
	dir := driver(t, map[string]string{"Makefile": "ccflags-y += -I$(src)/../../include\n", "a.c": "#include <linux/module.h>\nchar *s = \"../../../..\";\n"})
	root, err := surroundings(dir)
	require.NoError(t, err)
	require.Equal(t, filepath.Dir(filepath.Dir(dir)), root)

	require.NoError(t, os.Mkdir(filepath.Join(filepath.Dir(dir), ".git"), 0o755))
	root, err = surroundings(dir)
	require.NoError(t, err)
	require.Equal(t, filepath.Dir(dir), root, "never out of the driver's git tree")
}

// A link to what another package brings is a link to nowhere here.
func TestExternalWithALinkToNowhere(t *testing.T) {
	b, k := moduleKernel(t)
	dir := driver(t, map[string]string{"Makefile": "obj-m += m.o\n", "m.c": fakeModule("m", "6.12.7", "")})
	require.NoError(t, os.Symlink("../../share/doc/m/README.gz", filepath.Join(dir, "README.gz")))
	modules, err := b.External(t.Context(), k, dir, ModuleOptions{})
	require.NoError(t, err)
	require.Equal(t, "m", names(modules))
}

func conf(name, more string) string {
	return "PACKAGE_NAME=\"" + name + "\"\nPACKAGE_VERSION=\"1.0\"\n" + more + "\n"
}

func TestDKMS(t *testing.T) {
	m := fakeModule("m", "6.12.7", "")
	for name, c := range map[string]struct {
		files     map[string]string
		want, err string
	}{
		"defaults": {files: map[string]string{"dkms.conf": conf("m", ""), "m.c": m}, want: "m"},
		"layout": {files: map[string]string{"dkms.conf": conf("pkg", `MAKE="make -C ${kernel_source_dir} M=${dkms_tree}/${PACKAGE_NAME}/${PACKAGE_VERSION}/build"
BUILT_MODULE_NAME[0]="m"`), "m.c": m}, want: "m"},
		"sparse arrays":         {files: map[string]string{"dkms.conf": conf("pkg", "BUILT_MODULE_NAME[7]=n\nBUILT_MODULE_NAME[2]=m\nBUILT_MODULE_LOCATION[7]=/sub/"), "m.c": m, "sub/n.c": fakeModule("n", "6.12.7", "m")}, want: "m n"},
		"only what is promised": {files: map[string]string{"dkms.conf": conf("pkg", "BUILT_MODULE_NAME[0]=m"), "m.c": m, "test.c": fakeModule("test", "6.12.7", "")}, want: "m"},
		"make match": {files: map[string]string{"dkms.conf": conf("m", `MAKE[0]="false"
MAKE[1]="make KDIR=$kernel_source_dir new"
MAKE_MATCH[1]="^6\.1[0-9]"
MAKE[2]="false"
MAKE_MATCH[2]="^5\."`), "Makefile": "new:\n\t@test '$(KERNELRELEASE)' = 6.12.7\n\t$(MAKE) -C $(KDIR) M=$(CURDIR)\n", "m.c": m}, want: "m"},
		"late expansion": {files: map[string]string{"dkms.conf": conf("m", `MAKE='make KVER=${kernelver} KDIR=${kernel_source_dir} new'`), "Makefile": "new:\n\ttest '$(KVER)' = 6.12.7\n\t$(MAKE) -C $(KDIR) M=$(CURDIR)\n", "m.c": m}, want: "m"},
		"patches and PRE_BUILD": {files: map[string]string{
			"dkms.conf":         conf("m", "PATCH[0]=gone.patch\nPATCH_MATCH[0]=^5\\.\nPATCH[3]=fix.patch\nPATCH_MATCH[3]=^6\nPRE_BUILD=\"pre.sh $kernelver\""),
			"pre.sh":            "#!/bin/sh\ntest \"$1\" = \"$kernelver\" && test -d \"$kernel_source_dir\" && grep -q 'int fixed' m.c && echo '#define GEN 1' > gen.h\n",
			"m.c":               "#include \"gen.h\"\nint broken\n" + m,
			"patches/fix.patch": "--- a/m.c\n+++ b/m.c\n@@ -1,2 +1,2 @@\n #include \"gen.h\"\n-int broken\n+int fixed;\n",
		}, want: "m"},
		"exclusive kernel":  {files: map[string]string{"dkms.conf": conf("m", `BUILD_EXCLUSIVE_KERNEL="^(5\.1[0-9]|6\.1\.)"`)}, err: `the driver does not apply: BUILD_EXCLUSIVE_KERNEL="^(5\\.1[0-9]|6\\.1\\.)", and this is 6.12.7`},
		"exclusive arch":    {files: map[string]string{"dkms.conf": conf("m", `BUILD_EXCLUSIVE_ARCH="s390x"`)}, err: "the driver does not apply: BUILD_EXCLUSIVE_ARCH"},
		"exclusive minimum": {files: map[string]string{"dkms.conf": conf("m", `BUILD_EXCLUSIVE_KERNEL_MIN="6.13"`)}, err: "the driver does not apply: BUILD_EXCLUSIVE_KERNEL_MIN"},
		"exclusive maximum": {files: map[string]string{"dkms.conf": conf("m", `BUILD_EXCLUSIVE_KERNEL_MAX="6.9"`)}, err: "the driver does not apply: BUILD_EXCLUSIVE_KERNEL_MAX"},
		"exclusive config":  {files: map[string]string{"dkms.conf": conf("m", `BUILD_EXCLUSIVE_CONFIG="CONFIG_NET !CONFIG_SPARC CONFIG_I2C"`)}, err: "lacks CONFIG_I2C"},
		"applies":           {files: map[string]string{"dkms.conf": conf("m", "BUILD_EXCLUSIVE_KERNEL=^6\nBUILD_EXCLUSIVE_KERNEL_MIN=2.6.39\nBUILD_EXCLUSIVE_CONFIG=CONFIG_VIDEO_DEV\n"), "m.c": m}, want: "m"},
		"exits":             {files: map[string]string{"dkms.conf": conf("m", "exit 0")}, err: "dkms.conf: exits before its end"},
		"fails":             {files: map[string]string{"dkms.conf": conf("m", "set -e\nfalse")}, err: "dkms.conf: exits before its end"},
		"syntax":            {files: map[string]string{"dkms.conf": "if then\nPACKAGE_NAME=m"}, err: "syntax error"},
		"no name":           {files: map[string]string{"dkms.conf": "MAKE=make"}, err: `dkms.conf: PACKAGE_NAME is ""`},
		"path as name":      {files: map[string]string{"dkms.conf": conf("../../x", "")}, err: `dkms.conf: PACKAGE_NAME is "../../x"`},
		"leads out":         {files: map[string]string{"dkms.conf": conf("m", "BUILT_MODULE_NAME[0]=m\nBUILT_MODULE_LOCATION[0]=../../.."), "m.c": m}, err: "leads out of the build directory"},
		"broken promise":    {files: map[string]string{"dkms.conf": conf("pkg", "BUILT_MODULE_NAME[0]=other"), "m.c": m}, err: "dkms.conf promises other.ko, but the build did not make it (but m.ko)"},
		"own Makefile": {files: map[string]string{"dkms.conf": conf("m", `MAKE="make KVERSION=$kernelver"`),
			"Makefile": "TREES := /lib/modules\nKDIR := $(TREES)/$(KVERSION)/build\nall:\n\tmake -C $(KDIR) M=$(CURDIR)\n", "m.c": m}, want: "m"},
		"plain make": {files: map[string]string{"dkms.conf": conf("m", "MAKE=make"), "Makefile": "all:\n\tmake -C $(KDIR) M=$(CURDIR)\n", "m.c": m}, want: "m"},
		"own word wins": {files: map[string]string{"dkms.conf": conf("m", `MAKE="make KDIR=$kernel_source_dir/. KERNELDIR=else"`),
			"Makefile": "all:\n\ttest $(KERNELDIR) = else\n\tmake -C $(KDIR) M=$(CURDIR)\n", "m.c": m}, want: "m"},
		"/lib/modules": {files: map[string]string{"dkms.conf": conf("m", "test -d /lib/modules/$kernelver/build || exit 1\nMAKE=\"make -C /lib/modules/${kernelver}/build M=$dkms_tree/m/1.0/build\""), "m.c": m}, want: "m"},
		"/lib/modules in a Makefile that is patched": {files: map[string]string{"dkms.conf": conf("m", "MAKE=\"make 'KVER=$kernelver'\"\nPATCH[0]=x.patch"),
			"Makefile": "# old\nall:\n\tmake -C /lib/modules/$(KVER)/build M=$(CURDIR)\n", "m.c": m,
			"patches/x.patch": "--- a/Makefile\n+++ b/Makefile\n@@ -1,3 +1,3 @@\n-# old\n+# new\n all:\n \tmake -C /lib/modules/$(KVER)/build M=$(CURDIR)\n"}, want: "m"},
		"asks for its name": {files: map[string]string{"dkms.conf": conf("m", `MAKE="make -C $kernel_source_dir M=$dkms_tree/$module/${module_version}/build"`), "m.c": m}, want: "m"},
		"version to be put in": {files: map[string]string{"dkms.conf": `PACKAGE_NAME=m
PACKAGE_VERSION="#MODULE_VERSION#"
MAKE="make -C $kernel_source_dir M=$dkms_tree/m/$PACKAGE_VERSION/build"`, "m.c": m}, want: "m"},
		"bad pattern": {files: map[string]string{"dkms.conf": conf("m", `BUILD_EXCLUSIVE_KERNEL="("`)}, err: "dkms.conf: BUILD_EXCLUSIVE_KERNEL"},
	} {
		t.Run(name, func(t *testing.T) {
			b, k := moduleKernel(t)
			dir := driver(t, c.files)
			before := tree(t, dir)
			modules, err := b.External(t.Context(), k, dir, ModuleOptions{})
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				require.NotContains(t, err.Error(), "\n")
			} else {
				require.NoError(t, err)
			}
			require.Equal(t, c.want, names(modules))
			require.Equal(t, before, tree(t, dir), "the driver's tree must stay as it is")
		})
	}
}

func TestDKMSErrorsAreOfTheRightKind(t *testing.T) {
	b, k := moduleKernel(t)
	_, err := b.External(t.Context(), k, driver(t, map[string]string{"dkms.conf": conf("m", "BUILD_EXCLUSIVE_CONFIG='CONFIG_I2C CONFIG_SPI'")}), ModuleOptions{})
	var skip *Skip
	require.ErrorAs(t, err, &skip)
	require.Equal(t, []string{"I2C", "SPI"}, skip.Options)
	require.False(t, IsUsage(err))

	_, err = b.External(t.Context(), k, driver(t, map[string]string{"dkms.conf": "exit 1"}), ModuleOptions{})
	require.True(t, IsUsage(err), "a broken dkms.conf is wrong usage")
}

func TestDKMSConfThatLoops(t *testing.T) {
	dir := driver(t, map[string]string{"dkms.conf": conf("m", "while :; do echo x; done")})
	start := time.Now()
	_, err := readDKMSConf(t.Context(), dir, nil, 300*time.Millisecond)
	require.ErrorContains(t, err, "dkms.conf: did not end within 300ms")
	require.True(t, IsUsage(err))
	require.Less(t, time.Since(start), 5*time.Second)
}

func TestCompareVersions(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"6.12.117", "6.9", 1}, {"6.1", "6.1", 0}, {"6.1.192", "6.1", 1}, {"2.6.39", "6.1.1", -1}, {"6.01", "6.1", 0}, {"6.12.0-rc1", "6.12.0-rc2", -1}} {
		got := compareVersions(c.a, c.b)
		require.Equal(t, c.want, max(-1, min(got, 1)), "%s %s", c.a, c.b)
	}
}
