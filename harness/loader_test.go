package harness

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/kernels"
)

// infoModule compiles an object whose .modinfo says what is given, and what
// every module says.
func infoModule(t *testing.T, dir, name string, info ...string) string {
	t.Helper()
	info = append([]string{"name=" + name, "vermagic=6.12.7 SMP mod_unload "}, info...)
	source := `static const char info[] __attribute__((section(".modinfo"), used)) = "` + strings.Join(info, `\0`) + `";` + "\n"
	file := filepath.Join(dir, name+".ko")
	require.NoError(t, os.WriteFile(file+".c", []byte(source), 0o644))
	out, err := exec.Command("gcc", "-c", "-o", file, file+".c").CombinedOutput()
	require.NoError(t, err, string(out))
	return file
}

// What is loaded before a module: those whose symbols it uses, and those that its
// softdep names.
func TestLoaderOrder(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil && os.Getenv("CI") != "true" {
		t.Skip("gcc: not found")
	}
	build := t.TempDir()
	infoModule(t, build, "crc32c_generic", "alias=crypto-crc32c", "depends=libcrc")
	infoModule(t, build, "libcrc")
	infoModule(t, build, "md5", "softdep=pre: late")
	infoModule(t, build, "late", "softdep=pre: md5") // a circle
	infoModule(t, build, "bus", "softdep=post: after pre: before")
	infoModule(t, build, "before")
	infoModule(t, build, "after")
	infoModule(t, build, "helper") // which the driver brings itself
	own := func(name string, depends []string, info ...string) kernels.Module {
		return kernels.Module{Name: name, Depends: depends, Path: infoModule(t, t.TempDir(), name, info...)}
	}
	for name, c := range map[string]struct {
		own  []kernels.Module
		want string
	}{
		"nothing":              {[]kernels.Module{own("drv", nil)}, "drv"},
		"symbols":              {[]kernels.Module{own("drv", []string{"libcrc"})}, "libcrc drv"},
		"by name":              {[]kernels.Module{own("drv", nil, "softdep=pre: libcrc")}, "libcrc drv"},
		"by alias":             {[]kernels.Module{own("drv", nil, "softdep=pre: crypto-crc32c")}, "libcrc crc32c_generic drv"},
		"before the symbols":   {[]kernels.Module{own("drv", []string{"libcrc"}, "softdep=pre: before after")}, "before after libcrc drv"},
		"two of them":          {[]kernels.Module{own("drv", nil, "softdep=pre: before", "softdep=pre: after")}, "before after drv"},
		"post is for later":    {[]kernels.Module{own("drv", nil, "softdep=pre: before post: after")}, "before drv"},
		"of what it needs":     {[]kernels.Module{own("drv", []string{"bus"})}, "before bus drv"},
		"what is not there":    {[]kernels.Module{own("drv", nil, "softdep=pre: built-in-or-absent")}, "drv"},
		"a circle":             {[]kernels.Module{own("drv", nil, "softdep=pre: md5")}, "late md5 drv"},
		"the driver's own":     {[]kernels.Module{own("a", nil, "softdep=pre: helper"), own("helper", nil, "softdep=pre: libcrc")}, "libcrc helper a"},
		"the driver's aliases": {[]kernels.Module{own("a", nil, "softdep=pre: fast-crc"), own("z", nil, "alias=fast-crc")}, "z a"},
	} {
		t.Run(name, func(t *testing.T) {
			l := loader{builder: &kernels.Builder{}, own: c.own, kernel: &kernels.Kernel{Release: "6.12.7", Build: build}}
			var order []string
			for _, m := range c.own {
				require.NoError(t, l.add(t.Context(), m.Name))
			}
			for _, m := range l.order {
				order = append(order, m.Name)
				if m.Name == "helper" {
					require.NotEqual(t, build, filepath.Dir(m.Path), "the driver's is taken")
				}
			}
			require.Equal(t, c.want, strings.Join(order, " "))
		})
	}
}
