package kernels

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// growModules adds to the kernel of testing_test.go what growing takes: headers
// that follow .config, and a modpost that knows what is exported.
const growModules = `modules:
	@if test -n "$(M)"; then \
		defs=$$(sed -n 's/^\(CONFIG_[A-Z0-9_]*\)=[ym]$$/-D\1=1/p' $(O)/.config); \
		for c in $$(ls "$(M)"/*.c); do \
			$(or $(CC),gcc) $$defs -D'EXPORT_SYMBOL(x)=' -I$(CURDIR)/include $(KCFLAGS) -Werror=implicit-function-declaration $(if $(KBUILD_MODPOST_WARN),-Wno-error=implicit-function-declaration) -c "$$c" -o "$${c%%.c}.ko" || exit 1; \
			for u in $$(nm -u "$${c%%.c}.ko" | grep -o 'k_[a-z0-9_]*'); do \
				echo $$defs | grep -qi "CONFIG_$${u#k_}=1" || grep -qs "	$$u	" /dev/null $(KBUILD_EXTRA_SYMBOLS) || { echo "$(if $(KBUILD_MODPOST_WARN),WARNING,ERROR): modpost: \"$$u\" [$${c%%.c}.ko] undefined!"; $(if $(KBUILD_MODPOST_WARN),,bad=1;) }; \
			done; \
		done; test -z "$$bad" || exit 1; \
		sed -n 's/^EXPORT_SYMBOL(\(.*\));.*/0x0\t\1\tm\tEXPORT_SYMBOL\t/p' "$(M)"/*.c > "$(M)/Module.symvers"; fi
`

// growingKernel is a kernel whose options I2C and NET export k_i2c and k_net.
func growingKernel(t *testing.T) string {
	t.Helper()
	dir := fakeKernel(t, t.TempDir(), "6.12.7")
	text, err := os.ReadFile(filepath.Join(dir, "Makefile"))
	require.NoError(t, err)
	head, tail, ok := strings.Cut(string(text), "modules:\n")
	require.True(t, ok)
	_, tail, ok = strings.Cut(tail, "$(O)/%.o")
	require.True(t, ok)
	write(t, dir, "Makefile", head+strings.ReplaceAll(growModules, "%%", "%")+"$(O)/%.o"+tail)
	kconfigText, err := os.ReadFile(filepath.Join(dir, "Kconfig"))
	require.NoError(t, err)
	write(t, dir, "Kconfig", string(kconfigText)+"config BUS\n\tbool \"bus\"\n\nconfig I2C\n\ttristate \"i2c\"\n\tdepends on BUS\n\nconfig NET\n\tbool \"net\"\n\nconfig SPI\n\tbool \"spi\"\n")
	for name, content := range map[string]string{
		"Kbuild":             "obj-y += drivers/\nobj-$(CONFIG_NET) += net/\n",
		"drivers/Makefile":   "obj-$(CONFIG_I2C) += i2c.o\n",
		"drivers/i2c.c":      "EXPORT_SYMBOL(k_i2c);\n",
		"net/Makefile":       "obj-y += dev.o\n",
		"net/dev.c":          "EXPORT_SYMBOL_GPL(k_net);\n",
		"include/k/i2c.h":    "#ifdef CONFIG_I2C\nint k_i2c(void);\n#endif\n",
		"include/k/net.h":    "int k_net(void);\n",
		"arch/x86/Makefile":  "\n",
		"include/linux/a.h":  "\n",
		"arch/x86/include/a": "", "arch/arm64/include/a": "",
	} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755))
		write(t, dir, name, content)
	}
	return dir
}

func base(t *testing.T, b *Builder, spec Spec) *Kernel {
	t.Helper()
	k, err := b.Kernel(t.Context(), spec)
	require.NoError(t, err)
	return k
}

const needyDriver = `#include <k/i2c.h>
#include <k/net.h>
int use(void) { return k_i2c() + k_net(); }
`

func TestDriverGetsTheKernelItNeeds(t *testing.T) {
	needTools(t)
	b, log := testBuilder(t)
	spec := Spec{Source: growingKernel(t), Arch: hostArch(t)}
	dir := driver(t, map[string]string{"Makefile": "obj-m += m.o\n", "m.c": needyDriver + fakeModule("m", "6.12.7", "")})
	d, err := b.Driver(t.Context(), base(t, b, spec), dir, ModuleOptions{})
	require.NoError(t, err)
	require.Equal(t, "m", names(d.Modules))
	require.Equal(t, []Addition{
		{Options: []string{"CONFIG_BUS=y", "CONFIG_I2C=y"}, Why: "k_i2c is in drivers/i2c.c"},
		{Options: []string{"CONFIG_NET=y"}, Why: "k_net is in net/dev.c"},
	}, d.Added)
	require.Equal(t, []string{"CONFIG_BUS=y", "CONFIG_I2C=y", "CONFIG_NET=y"}, d.KconfigLines())
	config, err := os.ReadFile(d.Kernel.Config)
	require.NoError(t, err)
	require.Contains(t, string(config), "CONFIG_NET=y\n")
	require.Contains(t, log.String(), "the kernel needs CONFIG_BUS=y CONFIG_I2C=y (k_i2c is in drivers/i2c.c)")
	require.Equal(t, 2, strings.Count(log.String(), ": building with"), "the base and one more: all that is missing is found at once")

	again, err := b.Driver(t.Context(), base(t, b, spec), dir, ModuleOptions{})
	require.NoError(t, err)
	require.Equal(t, d.Modules, again.Modules)
	require.Equal(t, d.Added, again.Added)
	require.Equal(t, d.Kernel.Key, again.Kernel.Key)
	require.Equal(t, 2, strings.Count(log.String(), ": building with"), "what was found is kept")
}

func TestDriverThatNeedsNothing(t *testing.T) {
	needTools(t)
	b, _ := testBuilder(t)
	dir := driver(t, map[string]string{"Makefile": "obj-m += m.o\n", "m.c": fakeModule("m", "6.12.7", "")})
	d, err := b.Driver(t.Context(), base(t, b, Spec{Source: growingKernel(t), Arch: hostArch(t)}), dir, ModuleOptions{})
	require.NoError(t, err)
	require.Empty(t, d.Added)
	require.Equal(t, "m", names(d.Modules))
}

func TestDriverThatExcludesASmallKernel(t *testing.T) {
	needTools(t)
	b, _ := testBuilder(t)
	dir := driver(t, map[string]string{"m.c": fakeModule("m", "6.12.7", ""), "dkms.conf": conf("m", `BUILD_EXCLUSIVE_CONFIG="CONFIG_SPI !CONFIG_SPARC"
MAKE="gcc $KCFLAGS -c m.c -o m.ko"`)})
	d, err := b.Driver(t.Context(), base(t, b, Spec{Source: growingKernel(t), Arch: hostArch(t)}), dir, ModuleOptions{})
	require.NoError(t, err)
	require.Equal(t, []Addition{{Options: []string{"CONFIG_SPI=y"}, Why: "the driver names CONFIG_SPI"}}, d.Added)

	write(t, dir, "dkms.conf", conf("m", `BUILD_EXCLUSIVE_CONFIG="CONFIG_ELSEWHERE"`))
	_, err = b.Driver(t.Context(), base(t, b, Spec{Source: growingKernel(t), Arch: hostArch(t)}), dir, ModuleOptions{})
	var skip *Skip
	require.ErrorAs(t, err, &skip)
	require.Contains(t, skip.Reason, "and the kernel lacks CONFIG_ELSEWHERE (the driver names CONFIG_ELSEWHERE, but ", "why it cannot be had")
}

func TestDriverForAnotherKernel(t *testing.T) {
	needTools(t)
	b, log := testBuilder(t)
	dir := driver(t, map[string]string{"Makefile": "obj-m += m.o\n", "m.c": "int use(void) { return k_gone() + k_net(); }\n"})
	_, err := b.Driver(t.Context(), base(t, b, Spec{Source: growingKernel(t), Arch: hostArch(t)}), dir, ModuleOptions{})
	require.ErrorContains(t, err, "implicit declaration of function")
	require.ErrorContains(t, err, "k_gone: this kernel's source has no such thing")
	require.Equal(t, 1, strings.Count(log.String(), ": building with"), "no kernel is built in vain")
}

// Drivers that look for their options by themselves, and how they say what they miss.
func TestDriverThatLooksForItself(t *testing.T) {
	needTools(t)
	uses := "#include <k/i2c.h>\nint use(void) { return k_i2c(); }\n" + fakeModule("m", "6.12.7", "")
	stops := "include $(KDIR)/.config\nifndef CONFIG_I2C\n$(error ** You need to enable I2C in your kernel **)\nendif\nall:\n\t$(MAKE) -C /lib/modules/$(KVER)/source O=$(KDIR) M=$(CURDIR) modules\n"
	for name, files := range map[string]map[string]string{
		"its Makefile stops": {"Makefile": stops, "m.c": uses, "dkms.conf": conf("m", "MAKE=make")},
		"its dkms.conf looks into .config": {"m.c": uses,
			"dkms.conf": conf("m", `grep -q "^CONFIG_I2C=[ym]" "$kernel_source_dir/.config" || BUILD_EXCLUSIVE_ARCH=do_not_build`+"\n"+`MAKE="make -C /lib/modules/$kernelver/source O=$kernel_source_dir M=$dkms_tree/m/1.0/build modules"`)},
		"its dkms.conf loses the status": {"m.c": uses,
			"dkms.conf": conf("m", `MAKE="make -C /lib/modules/$kernelver/source O=$kernel_source_dir M=$dkms_tree/m/1.0/build modules; true"`)},
	} {
		t.Run(name, func(t *testing.T) {
			b, log := testBuilder(t)
			d, err := b.Driver(t.Context(), base(t, b, Spec{Source: growingKernel(t), Arch: hostArch(t)}), driver(t, files), ModuleOptions{})
			require.NoError(t, err)
			require.Equal(t, "m", names(d.Modules))
			require.Equal(t, []string{"CONFIG_BUS=y", "CONFIG_I2C=y"}, d.KconfigLines())
			require.Equal(t, 2, strings.Count(log.String(), ": building with"))
		})
	}
}

func TestFoundOff(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "Makefile", "ifneq ($(KERNELRELEASE),)\nifndef CONFIG_A\n$(error 3)\nendif\nifeq ($(CONFIG_B),)\n$(error 6)\nelse\n$(error 8)\nendif\nifdef CONFIG_C\n$(error 11)\nendif\nendif\n")
	for line, want := range map[int][]string{3: {"A"}, 6: {"B"}, 8: nil, 11: nil} {
		require.Equal(t, want, foundOff(dir+"/Makefile", line), "line %d", line)
	}
	require.Empty(t, foundOff(dir+"/gone", 1))
}
