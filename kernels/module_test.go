package kernels

import (
	"debug/dwarf"
	"debug/elf"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// fakeModule is C that compiles, without any header, to what passes for a
// module: an object with a .modinfo section.
func fakeModule(name, release, depends string) string {
	return `static const char info[] __attribute__((section(".modinfo"), used)) =
	"name=` + name + `\0depends=` + depends + `\0vermagic=` + release + ` SMP mod_unload ";
int ` + name + `(void) { return sizeof(info); }
`
}

// driverDir is a driver with two modules, of which one needs the other.
func driverDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "Makefile", "obj-m := a_user.o z-core.o\n")
	write(t, dir, "a_user.c", fakeModule("a_user", "6.12.7", "z-core"))
	write(t, dir, "z-core.c", fakeModule("z_core", "6.12.7", ""))
	return dir
}

func builtKernel(t *testing.T) (*Builder, *logBuffer, *Kernel) {
	t.Helper()
	needTools(t)
	b, log := testBuilder(t)
	k, err := b.Kernel(t.Context(), Spec{Source: fakeKernel(t, t.TempDir(), "6.12.7"), Arch: hostArch(t)})
	require.NoError(t, err)
	return b, log, k
}

func sections(t *testing.T, file string) map[string]bool {
	t.Helper()
	f, err := elf.Open(file)
	require.NoError(t, err)
	defer f.Close()
	names := map[string]bool{}
	for _, s := range f.Sections {
		names[s.Name] = true
	}
	return names
}

func TestModules(t *testing.T) {
	b, _, k := builtKernel(t)
	dir := driverDir(t)
	before, err := walkedFiles(dir)
	require.NoError(t, err)
	modules, err := b.External(t.Context(), k, dir, ModuleOptions{})
	require.NoError(t, err)
	require.Len(t, modules, 2)
	require.Equal(t, "z_core", modules[0].Name, "what is needed comes first")
	require.Equal(t, "a_user", modules[1].Name)
	require.Equal(t, []string{"z_core"}, modules[1].Depends)
	require.True(t, sections(t, modules[0].Path)[".debug_info"])
	require.False(t, sections(t, modules[0].Stripped)[".debug_info"])
	require.Contains(t, sourceFiles(t, modules[0].Path), filepath.Join(dir, "z-core.c"))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, len(before), "the driver's directory must stay as it is")

	again, err := b.External(t.Context(), k, dir, ModuleOptions{})
	require.NoError(t, err)
	require.Equal(t, modules, again)
	write(t, dir, "z-core.c", fakeModule("z_core", "6.12.7", "")+"int more;\n")
	edited, err := b.External(t.Context(), k, dir, ModuleOptions{})
	require.NoError(t, err)
	require.NotEqual(t, modules[0].Path, edited[0].Path)
}

// sourceFiles lists the names of a module's compile units.
func sourceFiles(t *testing.T, ko string) (names []string) {
	t.Helper()
	f, err := elf.Open(ko)
	require.NoError(t, err)
	defer f.Close()
	data, err := f.DWARF()
	require.NoError(t, err)
	for r := data.Reader(); ; r.SkipChildren() {
		e, err := r.Next()
		require.NoError(t, err)
		if e == nil {
			return names
		}
		name, _ := e.Val(dwarf.AttrName).(string)
		names = append(names, name)
	}
}

func TestModulesOfASubdirectoryWithItsSurroundings(t *testing.T) {
	b, _, k := builtKernel(t)
	root := t.TempDir()
	dir := filepath.Join(root, "src")
	require.NoError(t, os.Mkdir(dir, 0o755))
	write(t, root, "shared.h", fakeModule("m", "6.12.7", ""))
	write(t, dir, "Kbuild", "obj-m := m.o\n")
	write(t, dir, "m.c", "#include \"../shared.h\"\n")
	for _, opts := range []ModuleOptions{{}, {Root: root}} {
		modules, err := b.External(t.Context(), k, dir, opts)
		require.NoError(t, err)
		require.Equal(t, "m", modules[0].Name)
	}
}

func TestModulesOfAGitWorkTree(t *testing.T) {
	b, _, k := builtKernel(t)
	top := filepath.Join(t.TempDir(), "with blank")
	dir := filepath.Join(top, "driver")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	git := func(args ...string) {
		_, err := (&Command{Args: append([]string{"git", "-C", top, "-c", "user.name=x", "-c", "user.email=x"}, args...)}).Output(t.Context())
		require.NoError(t, err)
	}
	write(t, dir, "Makefile", "obj-m := m.o\n")
	write(t, dir, "m.c", fakeModule("m", "6.12.7", ""))
	write(t, dir, "broken.c", "SYNTAX\n")
	write(t, top, ".gitignore", "broken.c\n")
	git("init", "-q")
	git("add", ".")
	git("commit", "-qm", "x")
	modules, err := b.External(t.Context(), k, dir, ModuleOptions{})
	require.NoError(t, err, "an ignored file is no source")
	write(t, top, "README", "beside the driver\n")
	again, err := b.External(t.Context(), k, dir, ModuleOptions{})
	require.NoError(t, err)
	require.Equal(t, modules, again)

	write(t, dir, "broken.c", "int x;\n")
	write(t, top, ".gitignore", "driver\n")
	git("rm", "-rq", "--cached", "driver")
	_, err = b.External(t.Context(), k, dir, ModuleOptions{})
	require.ErrorContains(t, err, "broken.ko", "all of an ignored directory is")
}

func TestModuleThatDoesNotCompile(t *testing.T) {
	b, _, k := builtKernel(t)
	dir := driverDir(t)
	write(t, dir, "z-core.c", "int broken(void) { return missing; }\n")
	_, err := b.External(t.Context(), k, dir, ModuleOptions{})
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, FaultDriver, e.Fault)
	require.FileExists(t, e.Log)
	var c *CompileError
	require.ErrorAs(t, err, &c)
	require.Len(t, c.Messages, 1)
	require.Regexp(t, `^z-core.c:1:\d+: error: .missing. undeclared`, c.Messages[0])
	require.Equal(t, 1, strings.Count(err.Error(), "undeclared"), err.Error())
	require.NotContains(t, err.Error(), "\n")
}

func TestDirectoryWithoutMakefile(t *testing.T) {
	b, _ := testBuilder(t)
	_, err := b.External(t.Context(), &Kernel{Arch: "x86_64"}, t.TempDir(), ModuleOptions{})
	require.True(t, IsUsage(err))
	require.ErrorContains(t, err, "no Kbuild and no Makefile")
}

func TestDirectoryThatBuildsNoModule(t *testing.T) {
	b, _, k := builtKernel(t)
	dir := t.TempDir()
	write(t, dir, "Makefile", "all:\n")
	_, err := b.External(t.Context(), k, dir, ModuleOptions{})
	require.True(t, IsUsage(err))
	require.ErrorContains(t, err, "obj-m")
}

func TestModuleForAnotherKernel(t *testing.T) {
	b, _, k := builtKernel(t)
	dir := driverDir(t)
	modules, err := b.External(t.Context(), k, dir, ModuleOptions{})
	require.NoError(t, err)
	other := *k
	other.Release = "6.1.192"
	_, err = b.Prebuilt(&other, modules[0].Path)
	require.ErrorContains(t, err, `built for kernel "6.12.7", not for "6.1.192" (vermagic)`)
	other = *k
	other.Arch = map[string]string{"x86_64": "arm64", "arm64": "x86_64"}[k.Arch]
	_, err = b.Prebuilt(&other, modules[0].Path)
	require.ErrorContains(t, err, "not for "+other.Arch)
	_, err = b.Prebuilt(k, filepath.Join(dir, "Makefile"))
	require.ErrorContains(t, err, "driver: ")
	m, err := b.Prebuilt(k, modules[0].Path)
	require.NoError(t, err)
	require.Equal(t, "z_core", m.Name)
}

func TestModulesThatNeedEachOther(t *testing.T) {
	_, err := loadOrder([]Module{{Name: "a", Depends: []string{"b"}}, {Name: "b", Depends: []string{"a"}}})
	require.ErrorContains(t, err, "needs itself")
	_, err = loadOrder([]Module{{Name: "a"}, {Name: "a"}})
	require.ErrorContains(t, err, "two modules")
}

func TestKernelModuleThatIsNotThere(t *testing.T) {
	b, _, k := builtKernel(t)
	_, err := b.KernelModule(t.Context(), k, "kmemleak-test")
	require.ErrorContains(t, err, "6.12.7 has no module kmemleak-test")
}

// Real lines of make, gcc and modpost (6.12, gcc 12).
func TestDiagnostics(t *testing.T) {
	d := newDiagnostics("/w")
	for _, line := range strings.Split(`make[1]: Entering directory '/cache/build'
  CC [M]  /w/foo.o
/w/foo.c: In function 'probe':
/w/foo.c:12:9: error: implicit declaration of function 'i2c_add_driver' [-Werror=implicit-function-declaration]
/w/foo.c:12:9: error: implicit declaration of function 'i2c_add_driver' [-Werror=implicit-function-declaration]
/w/foo.c:14:2: warning: unused variable 'x' [-Wunused-variable]
cc1: some warnings being treated as errors
make[3]: *** [/src/scripts/Makefile.build:229: /w/foo.o] Error 1
ERROR: modpost: "dm_register_target" [/w/foo.ko] undefined!
make[1]: *** [/src/Makefile:1945: /w] Error 2
make: *** [Makefile:224: __sub-make] Error 2`, "\n") {
		d.line(line)
	}
	require.Equal(t, []string{
		"foo.c:12:9: error: implicit declaration of function 'i2c_add_driver' [-Werror=implicit-function-declaration]",
		`ERROR: modpost: "dm_register_target" [foo.ko] undefined!`,
	}, d.Messages)
	require.Equal(t, []string{"dm_register_target"}, d.Undefined)
	require.Equal(t, []string{"i2c_add_driver"}, d.Implicit)
}
