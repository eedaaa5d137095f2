package kernels

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/kconfig"
)

// growTree is a kernel's source in small: the shapes of Makefile, export and
// guard that real ones have, each copied from one.
var growTree = map[string]string{
	"Kconfig": `
config NET
	bool "Networking"
config MODULES
	bool "Modules"
config HIDDEN_CORE
	tristate
config I2C
	tristate "I2C"
config I2C_SMBUS
	tristate "SMBus"
	depends on I2C
config I2C_MUX
	bool "Muxes"
	depends on I2C
config MEDIA
	tristate "Media"
config VIDEO
	tristate "Video"
	depends on MEDIA && I2C
	select HIDDEN_CORE
config DCB
	bool "Data center bridging"
	depends on NET
config IMPOSSIBLE
	bool "for another architecture"
	depends on ARCH_OTHER
config PERF
	bool "Perf"
`,
	"Kbuild":           "obj-y += drivers/\nobj-$(CONFIG_NET) += net/\n",
	"drivers/Makefile": "obj-y\t+= base/\nobj-$(CONFIG_MEDIA) += media/\nobj-$(CONFIG_I2C) += i2c/ # the bus\n",
	"drivers/i2c/Makefile": `
i2c-core-objs := i2c-core-base.o \
		 i2c-core-more.o
obj-$(CONFIG_I2C) += i2c-core.o
i2c-core-$(CONFIG_I2C_SMBUS)	+= smbus/smbus.o
ifeq ($(CONFIG_I2C_MUX),y)
obj-y += mux.o
else
obj-y += nomux.o
endif
ifneq ($(CONFIG_IMPOSSIBLE),)
obj-y += never.o
endif
`,
	"drivers/i2c/i2c-core-more.c":  "EXPORT_SYMBOL(i2c_more);\n",
	"drivers/i2c/smbus/smbus.c":    "EXPORT_SYMBOL_NS_GPL(i2c_smbus, \"I2C\");\n",
	"drivers/i2c/mux.c":            "EXPORT_SYMBOL_GPL(i2c_mux_add);\n",
	"drivers/i2c/never.c":          "EXPORT_SYMBOL(never);\n",
	"drivers/i2c/orphan.c":         "EXPORT_SYMBOL(orphan);\n",
	"drivers/media/Makefile":       "obj-$(CONFIG_VIDEO) += core/\nvideo-y := $(core-files)\ncore-files = core/dev.o\nobj-$(CONFIG_VIDEO) += video.o\n",
	"drivers/media/core/dev.c":     "int a;\nEXPORT_SYMBOL(video_register);\n",
	"drivers/base/Makefile":        "obj-y := core.o\n",
	"drivers/base/core.c":          "EXPORT_SYMBOL(device_add);\n#ifdef CONFIG_PERF\nEXPORT_TRACEPOINT_SYMBOL_GPL(sched_out);\n#endif\n",
	"net/Makefile":                 "obj-y := dev.o\n",
	"net/dev.c":                    "EXPORT_SYMBOL(register_netdev);\n",
	"tools/dev.c":                  "EXPORT_SYMBOL(register_netdev);\n",
	"arch/x86/Makefile":            "drivers-$(CONFIG_PERF) += arch/x86/events/\n",
	"arch/x86/events/Makefile":     "obj-y += core.o\n",
	"arch/x86/events/core.c":       "EXPORT_SYMBOL_GPL(perf_x86);\n",
	"arch/sparc/x.c":               "EXPORT_SYMBOL(perf_x86);\n",
	"arch/x86/include/asm/empty.h": "\n",
	"include/linux/i2c.h": `#ifndef _I2C_H
#define _I2C_H
#if IS_ENABLED(CONFIG_I2C)
static inline void *i2c_get(struct i2c_client *c)
{
}
#define module_i2c_driver(x) \
	module_driver(x)
#endif
int always(void);
#ifdef CONFIG_I2C
int always(void);
#endif
struct net_device {
	int flags;
#if IS_ENABLED(CONFIG_DCB)
	const struct dcb_ops *dcb_ops;
#endif
};
#ifdef CONFIG_I2C
struct i2c_ops {
	int pf;
};
#endif
#endif
`,
}

// withCrypto has an algorithm twice: in plain C, and for a processor with more options.
func withCrypto() fstest.MapFS {
	fsys := growFS()
	for name, text := range map[string]string{
		"Kbuild":                     growTree["Kbuild"] + "obj-y += crypto/\n",
		"crypto/Makefile":            "obj-$(CONFIG_NET) += ecb.o\n",
		"crypto/ecb.c":               "MODULE_ALIAS_CRYPTO(\"ecb\");\n",
		"arch/x86/Makefile":          "core-y += arch/x86/crypto/\n",
		"arch/x86/crypto/Makefile":   "obj-$(CONFIG_DCB) += ecb-fast.o\n",
		"arch/x86/crypto/ecb-fast.c": "MODULE_ALIAS_CRYPTO(\"ecb\");\n",
	} {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return fsys
}

func growFS() fstest.MapFS {
	fsys := fstest.MapFS{}
	for name, text := range growTree {
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return fsys
}

func newFinder(t *testing.T, config string) *finder {
	t.Helper()
	tree, err := kconfig.ReadTree(growFS(), "x86_64")
	require.NoError(t, err)
	have, err := kconfig.Parse(strings.NewReader(config), ".config")
	require.NoError(t, err)
	return &finder{src: growFS(), arch: "x86_64", tree: tree, have: have}
}

func TestFind(t *testing.T) {
	for name, want := range map[string]string{
		"register_netdev":   "CONFIG_NET=y | register_netdev is in net/dev.c",
		"i2c_more":          "CONFIG_I2C=y | i2c_more is in drivers/i2c/i2c-core-more.c",
		"i2c_smbus":         "CONFIG_I2C=y CONFIG_I2C_SMBUS=y | i2c_smbus is in drivers/i2c/smbus/smbus.c",
		"i2c_mux_add":       "CONFIG_I2C=y CONFIG_I2C_MUX=y | i2c_mux_add is in drivers/i2c/mux.c",
		"video_register":    "CONFIG_MEDIA=y CONFIG_I2C=y CONFIG_VIDEO=y | video_register is in drivers/media/core/dev.c",
		"perf_x86":          "CONFIG_PERF=y | perf_x86 is in arch/x86/events/core.c",
		"sched_out":         "CONFIG_PERF=y | sched_out is in drivers/base/core.c",
		"module_i2c_driver": "CONFIG_I2C=y | module_i2c_driver is guarded in include/linux/i2c.h",
		"i2c_get":           "CONFIG_I2C=y | i2c_get is guarded in include/linux/i2c.h",
		"device_add":        "", // built already
		"always":            "!always is in include/linux/i2c.h whatever the options",
		"no_such":           "!no_such: this kernel's source has no such thing",
		"orphan":            "!orphan is in drivers/i2c/orphan.c, which no Makefile seems to build",
		"never":             "!never is in drivers/i2c/never.c, but turn on CONFIG_IMPOSSIBLE: this kernel has no ARCH_OTHER for this architecture",
	} {
		t.Run(name, func(t *testing.T) {
			added, unresolved, err := newFinder(t, "").find(needs{symbols: []string{name}})
			require.NoError(t, err)
			checkFound(t, want, added, unresolved)
		})
	}
}

func checkFound(t *testing.T, want string, added []Addition, unresolved []string) {
	t.Helper()
	if text, ok := strings.CutPrefix(want, "!"); ok {
		require.Empty(t, added)
		require.Equal(t, []string{text}, unresolved)
		return
	}
	require.Empty(t, unresolved)
	if want == "" {
		require.Empty(t, added)
		return
	}
	require.Len(t, added, 1)
	require.Equal(t, want, strings.Join(added[0].Options, " ")+" | "+added[0].Why)
}

func TestFindMembersAndOptions(t *testing.T) {
	added, unresolved, err := newFinder(t, "").find(needs{members: []string{"net_device.dcb_ops"}})
	require.NoError(t, err)
	checkFound(t, "CONFIG_NET=y CONFIG_DCB=y | net_device.dcb_ops is guarded in include/linux/i2c.h", added, unresolved)

	added, unresolved, err = newFinder(t, "").find(needs{members: []string{"net_device.gone"}})
	require.NoError(t, err)
	checkFound(t, "!net_device.gone: this kernel's source has no such thing", added, unresolved)

	added, unresolved, err = newFinder(t, "").find(needs{members: []string{"net_device.flags"}})
	require.NoError(t, err)
	checkFound(t, "!net_device.flags is in include/linux/i2c.h whatever the options", added, unresolved)

	for _, n := range []needs{{members: []string{"i2c_ops.pf"}}, {symbols: []string{"i2c_ops"}}} {
		added, unresolved, err = newFinder(t, "").find(n)
		require.NoError(t, err)
		checkFound(t, "CONFIG_I2C=y | "+append(n.members, n.symbols...)[0]+" is guarded in include/linux/i2c.h", added, unresolved)
	}

	added, unresolved, err = newFinder(t, "").find(needs{options: []string{"DCB", "GONE"}})
	require.NoError(t, err)
	require.Equal(t, []Addition{{Options: []string{"CONFIG_NET=y", "CONFIG_DCB=y"}, Why: "the driver names CONFIG_DCB"}}, added)
	require.Equal(t, []string{"the driver names CONFIG_GONE, but turn on CONFIG_GONE: this kernel has no GONE for this architecture"}, unresolved)
}

// What one symbol brought in is not asked for again by the next.
func TestFindCountsWhatItAdded(t *testing.T) {
	added, unresolved, err := newFinder(t, "CONFIG_I2C=m\n").find(needs{symbols: []string{"i2c_more", "i2c_smbus", "video_register"}})
	require.NoError(t, err)
	require.Empty(t, unresolved)
	require.Equal(t, []Addition{
		{Options: []string{"CONFIG_I2C_SMBUS=m"}, Why: "i2c_smbus is in drivers/i2c/smbus/smbus.c"},
		{Options: []string{"CONFIG_MEDIA=y", "CONFIG_VIDEO=m"}, Why: "video_register is in drivers/media/core/dev.c"},
	}, added)
}

// A driver cut out of the kernel's tree is built by that kernel's option: what
// it needs is needed, but not the kernel's own copy.
func TestFindForOwnOption(t *testing.T) {
	added, unresolved, err := newFinder(t, "").find(needs{ownOptions: []string{"VIDEO", "MY_OWN"}})
	require.NoError(t, err)
	require.Empty(t, unresolved)
	require.Len(t, added, 1)
	require.Equal(t, []string{"CONFIG_MEDIA=y", "CONFIG_I2C=y"}, added[0].Options)
}

// What surrounds all that the driver's Makefile builds is needed itself.
func TestFindForGuards(t *testing.T) {
	added, unresolved, err := newFinder(t, "").find(needs{guards: []string{"I2C", "MY_OWN"}})
	require.NoError(t, err)
	require.Empty(t, unresolved)
	require.Len(t, added, 1)
	require.Equal(t, "the driver's Makefile asks for CONFIG_I2C", added[0].Why)
	require.Contains(t, added[0].Options[len(added[0].Options)-1], "CONFIG_I2C=")
}

func TestNeedsOf(t *testing.T) {
	said := newDiagnostics("/scratch")
	for _, line := range []string{
		"/scratch/foo.c:12:2: error: implicit declaration of function 'i2c_add'; did you mean 'x'? [-Werror=implicit-function-declaration]",
		"/scratch/foo.c:13:2: error: call to undeclared function 'clang_says'; ISO C99 and later do not support implicit function declarations",
		"/scratch/foo.c:30:1: error: type defaults to ‘int’ in declaration of ‘module_i2c_driver’ [-Werror=implicit-int]",
		"/scratch/foo.c:31:1: error: 'CAP_FOO' undeclared (first use in this function)",
		"/scratch/foo.c:32:1: error: 'struct net_device' has no member named 'dcb_ops'",
		"/scratch/foo.c:33:1: error: invalid use of undefined type ‘struct nf_ops’",
		"/scratch/foo.c:34:1: error: invalid application of 'sizeof' to incomplete type 'struct nf_hook'",
		"/scratch/foo.c:32:1: error: no member named 'qdisc' in 'struct Qdisc_ops'",
		`ERROR: modpost: "crypto_alloc_ahash" [/scratch/foo.ko] undefined!`,
		`ERROR: modpost: "__tracepoint_sched_out" [/scratch/foo.ko] undefined!`,
		"/scratch/foo.c:40:1: error: expected ';' before 'foo'",
		"make[2]: *** [scripts/Makefile.build:229: /scratch/foo.o] Error 1",
	} {
		said.line(line)
	}
	require.Equal(t, needs{
		symbols: []string{"CAP_FOO", "clang_says", "crypto_alloc_ahash", "i2c_add", "module_i2c_driver", "nf_hook", "nf_ops", "sched_out"},
		members: []string{"Qdisc_ops.qdisc", "net_device.dcb_ops"},
	}, needsOf(&said.CompileError))

	said.line("/scratch/foo.c:50:1: error: too few arguments to function 'dm_io'")
	require.True(t, needsOf(&said.CompileError).empty(), "a driver for another kernel is no reason to build one")
}

// A message from a kernel's macro is told of the driver's line that uses it.
func TestMessageFromAMacro(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "vpoll.c", "")
	said := newDiagnostics(dir)
	for _, line := range []string{
		"include/linux/init.h:180:22: error: passing argument 1 of 'class_create' from incompatible pointer type",
		dir + "/vpoll.c:112:44: note: in expansion of macro 'THIS_MODULE'",
		dir + "/vpoll.c:120:1: error: expected ';'",
		"include/linux/x.h:1:1: note: in expansion of macro 'X'",
	} {
		said.line(line)
	}
	require.Equal(t, []string{
		"vpoll.c:112:44: error: passing argument 1 of 'class_create' from incompatible pointer type",
		"vpoll.c:120:1: error: expected ';'",
	}, said.Messages)
	require.True(t, said.forAnotherKernel())
}

func TestFindAddsNothingWhereAnythingIsGone(t *testing.T) {
	added, unresolved, err := newFinder(t, "").find(needs{symbols: []string{"i2c_more", "no_such"}})
	require.NoError(t, err)
	checkFound(t, "!no_such: this kernel's source has no such thing", added, unresolved)
}

func TestBuiltBy(t *testing.T) {
	mk := newMakeIndex(growFS(), "x86")
	require.Equal(t, []optionSet{{}}, mk.builtBy("drivers/base/core.c"))
	require.Equal(t, []optionSet{{"MEDIA", "VIDEO"}}, mk.builtBy("drivers/media/core/dev.c"))
	require.Equal(t, []optionSet{{"I2C"}}, mk.builtBy("drivers/i2c/nomux.c"))
	require.Empty(t, mk.builtBy("drivers/i2c/orphan.c"))
}

// Makefiles that go in circles must end.
func TestBuiltByCircle(t *testing.T) {
	mk := newMakeIndex(fstest.MapFS{"Makefile": {Data: []byte("a-y := b.o\nb-y := a.o\nobj-y += $(obj-y)\n")}}, "x86")
	require.Empty(t, mk.builtBy("a.c"))
}
