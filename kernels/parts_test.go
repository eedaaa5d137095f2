package kernels

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// partsMakefile is a kernel's tree that knows exports: what a module of M misses
// must be in one of KBUILD_EXTRA_SYMBOLS, and none may be in two.
const partsMakefile = `
all modules:
	@for c in $(M)/*.c; do \
		$(or $(CC),gcc) $(KCFLAGS) -D'EXPORT_SYMBOL(x)=' -c $$c -o $${c%.c}.ko || exit 1; \
		for u in $$(nm -u $${c%.c}.ko | grep -o 'k_[a-z0-9_]*'); do \
			n=$$(cat /dev/null $(KBUILD_EXTRA_SYMBOLS) | grep -c "	$$u	"); \
			test $$n -le 1 || { echo "ERROR: modpost: '$$u' exported twice"; exit 1; }; \
			test $$n -eq 1 || { echo "ERROR: modpost: \"$$u\" [$${c%.c}.ko] undefined!"; exit 1; }; \
		done; \
	done
	@sed -n 's/^EXPORT_SYMBOL(\(.*\));.*/0x0\t\1\tm\tEXPORT_SYMBOL\t/p' $(M)/*.c > $(M)/Module.symvers
`

// coreC and clientC are a module that exports a function and one that calls it.
var (
	coreC   = "int k_core(void) { return 1; }\nEXPORT_SYMBOL(k_core);\n" + fakeModule("core", "6.12.7", "")
	clientC = "#include \"../core/core.h\"\nint use(void) { return k_core(); }\n" + fakeModule("client", "6.12.7", "core")
)

// twoParts is a driver of which the client needs the core.
func twoParts(more map[string]string) map[string]string {
	files := map[string]string{
		"core/Kbuild": "obj-m := core.o\n", "core/core.c": coreC, "core/core.h": "int k_core(void);\n",
		"client/Kbuild": "obj-m := client.o\n", "client/client.c": clientC,
	}
	for name, text := range more {
		if files[name] = text; text == "" {
			delete(files, name)
		}
	}
	return files
}

func partsKernel(t *testing.T) (*Builder, *Kernel) {
	t.Helper()
	b, k := moduleKernel(t)
	write(t, k.Build, "Makefile", partsMakefile)
	return b, k
}

func TestPartsThatNeedEachOther(t *testing.T) {
	own := "all:\n\t$(MAKE) -C $(KDIR) M=$(CURDIR)\n"
	dkms := func(name string) string {
		return conf(name, `MAKE="make -C $kernel_source_dir M=$dkms_tree/`+name+`/1.0/build"`)
	}
	standalone := strings.ReplaceAll(clientC, "#include \"../core/core.h\"", "int k_core(void);")
	for name, c := range map[string]struct {
		files     map[string]string
		parts     []string
		want, err string
	}{
		"kbuild":             {want: "core client"},
		"Makefile":           {files: map[string]string{"core/Kbuild": "", "core/Makefile": own, "client/Kbuild": "", "client/Makefile": own}, want: "core client"},
		"dkms":               {files: map[string]string{"core/dkms.conf": dkms("core"), "client/dkms.conf": dkms("client"), "client/client.c": standalone}, want: "core client"},
		"dkms, then kbuild":  {files: map[string]string{"core/dkms.conf": dkms("core")}, want: "core client"},
		"a copied module":    {files: map[string]string{"client/Kbuild": "", "client/Makefile": own + "\tcp ../core/core.ko .\n"}, want: "core client"},
		"a copy of symbols":  {files: map[string]string{"core/Kbuild": "", "core/Makefile": own + "\tmkdir out && cp Module.symvers out\n"}, want: "core client"},
		"around them":        {files: map[string]string{"Kbuild": "obj-m := top.o\n", "top.c": fakeModule("top", "6.12.7", "client")}, parts: []string{"core", "client", "."}, want: "core client top"},
		"the other order":    {parts: []string{"client", "core"}, err: `drv/client: ERROR: modpost: "k_core" [client.ko] undefined! (log: `},
		"no such part":       {parts: []string{"core", "clint"}, err: "drv/clint: no dkms.conf, no Kbuild and no Makefile"},
		"one that is empty":  {files: map[string]string{"client/Kbuild": "", "client/Makefile": "all:\n"}, err: "drv/client: builds no module"},
		"does not compile":   {files: map[string]string{"client/client.c": "int f(void) { return x; }\n"}, err: "drv/client: client.c:1:22: error: "},
		"two of one name":    {files: map[string]string{"client/core.c": fakeModule("core", "6.12.7", "") + "int more;\n"}, err: "drv: core and client both build a module core, and they differ"},
		"not for this arch":  {files: map[string]string{"client/dkms.conf": conf("client", "BUILD_EXCLUSIVE_ARCH=s390x")}, err: "client: BUILD_EXCLUSIVE_ARCH="},
		"leads out of drv":   {parts: []string{"core", "../drv/client"}, err: "drv: ../drv/client lies outside of it"},
		"conf without names": {files: map[string]string{"client/dkms.conf": "MAKE=make\n"}, err: "drv/client: dkms.conf: PACKAGE_NAME"},
	} {
		t.Run(name, func(t *testing.T) {
			b, k := partsKernel(t)
			dir := driver(t, twoParts(c.files))
			before := tree(t, dir)
			if c.parts == nil {
				c.parts = []string{"core", "client"}
			}
			modules, err := b.External(t.Context(), k, dir, ModuleOptions{Parts: c.parts})
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				require.NotContains(t, err.Error(), "\n")
			} else {
				require.NoError(t, err)
				for _, m := range modules { // each file by its path in the driver
					part := strings.TrimPrefix(m.Name, "top")
					require.Contains(t, sourceFiles(t, m.Path), filepath.Join(dir, part, m.Name+".c"))
				}
			}
			require.Equal(t, c.want, names(modules))
			require.Equal(t, before, tree(t, dir), "the driver's tree must stay as it is")
		})
	}
}

// All parts, their order and what lies in them make the key.
func TestPartsAreBuiltAgainWhenOneChanges(t *testing.T) {
	b, k := partsKernel(t)
	dir := driver(t, twoParts(map[string]string{"client/extra.h": "#define EXTRA 1\n"}))
	build := func(parts ...string) string {
		modules, err := b.External(t.Context(), k, dir, ModuleOptions{Parts: parts})
		require.NoError(t, err)
		return modules[0].Path
	}
	first := build("core", "client")
	require.Equal(t, first, build("core", "client"))
	require.NotEqual(t, first, build("core"))
	write(t, dir, "client/extra.h", "#define EXTRA 2\n")
	second := build("core", "client")
	require.NotEqual(t, first, second)
	write(t, dir, "core/core.h", "int k_core(void); /* it is */\n")
	require.NotEqual(t, second, build("core", "client"))
}

// ownCoreKernel is growingKernel with an option that exports what a driver's core
// does too, and a flag without which no core compiles.
func ownCoreKernel(t *testing.T) string {
	t.Helper()
	dir := growingKernel(t)
	for file, edit := range map[string][2]string{
		"Kconfig":         {"config NET\n", "config CORE\n\tbool \"core\"\n\nconfig NET\n"},
		"Kbuild":          {"obj-y", "obj-$(CONFIG_CORE) += core.o\nobj-y"},
		"include/k/i2c.h": {"int k_i2c", "#define K_I2C_FLAG 1\nint k_i2c"},
	} {
		text, err := os.ReadFile(filepath.Join(dir, file))
		require.NoError(t, err)
		require.Contains(t, string(text), edit[0])
		write(t, dir, file, strings.Replace(string(text), edit[0], edit[1], 1))
	}
	write(t, dir, "core.c", "EXPORT_SYMBOL(k_core);\n")
	return dir
}

// The core does not compile before the kernel has grown, and still what the
// client takes of it is not looked for in the kernel, which has one of that name.
func TestPartsGetTheKernelTheyNeed(t *testing.T) {
	needTools(t)
	for name, flag := range map[string]string{"that misses a symbol": "k_i2c()", "that does not compile": "k_i2c() + K_I2C_FLAG"} {
		t.Run(name, func(t *testing.T) {
			b, log := testBuilder(t)
			k := base(t, b, Spec{Source: ownCoreKernel(t), Arch: hostArch(t)})
			dir := driver(t, twoParts(map[string]string{
				"core/core.c":     "#include <k/i2c.h>\nint more(void) { return " + flag + "; }\n" + coreC,
				"client/client.c": "#include <k/net.h>\nint net(void) { return k_net(); }\n" + clientC,
			}))
			d, err := b.Driver(t.Context(), k, dir, ModuleOptions{Parts: []string{"core", "client"}})
			require.NoError(t, err)
			require.Equal(t, "core client", names(d.Modules))
			require.ElementsMatch(t, []string{"CONFIG_BUS=y", "CONFIG_I2C=y", "CONFIG_NET=y"}, d.KconfigLines())
			require.Equal(t, 2, strings.Count(log.String(), ": building with"), "what all parts miss is found at once")
		})
	}
}

func TestPartsInTheWrongOrder(t *testing.T) {
	needTools(t)
	b, log := testBuilder(t)
	k := base(t, b, Spec{Source: ownCoreKernel(t), Arch: hostArch(t)})
	for _, header := range []string{"int k_core(void);\n", "\n"} { // modpost misses it, or the compiler does
		dir := driver(t, twoParts(map[string]string{"core/core.h": header}))
		_, err := b.Driver(t.Context(), k, dir, ModuleOptions{Parts: []string{"client", "core"}})
		var e *Error
		require.ErrorAs(t, err, &e)
		require.ErrorContains(t, err, "drv/client: ")
		require.Equal(t, "core exports k_core: name it before client in build: of kmemgate.yml", e.Cure)
	}
	require.Equal(t, 1, strings.Count(log.String(), ": building with"), "no kernel is built in vain")
}

func TestSymversNames(t *testing.T) {
	text := "0x00000000\tcore_helper\tcore/core\tEXPORT_SYMBOL_GPL\t\n0xdeadbeef\tother\tcore/core\tEXPORT_SYMBOL\tCORE\nno symbol\n"
	require.Equal(t, []string{"core_helper", "other"}, symversNames(text))
}

// What a directory exports that is not built is told in terms of the directory:
// no kernel has it.
func TestPartThatIsNotBuilt(t *testing.T) {
	needTools(t)
	b, log := testBuilder(t)
	k := base(t, b, Spec{Source: growingKernel(t), Arch: hostArch(t)})
	for _, header := range []string{"int k_core(void);\n", "\n"} { // modpost misses it, or the compiler does
		root := driver(t, twoParts(map[string]string{"core/core.h": header, "tools/Kbuild": "obj-m := tools.o\n", "tools/tools.c": fakeModule("tools", "6.12.7", "")}))
		for _, c := range []struct {
			dir   string
			parts []string
			said  string
			cure  string
		}{
			{root, []string{"tools", "client"}, "(core exports k_core, and is not built)", "name core in build: of kmemgate.yml, before what uses it"},
			{filepath.Join(root, "client"), nil, "(../core exports k_core, and is not built)",
				"run the directory that holds both, with build: in its kmemgate.yml: core before what uses it"},
		} {
			_, err := b.Driver(t.Context(), k, c.dir, ModuleOptions{Parts: c.parts})
			var e *Error
			require.ErrorAs(t, err, &e)
			require.ErrorContains(t, err, c.said)
			require.Equal(t, c.cure, e.Cure)
		}
	}
	require.Equal(t, 1, strings.Count(log.String(), ": building with"), "no kernel is built in vain")
}
