package kernels

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzDKMSValues takes what bash prints of a dkms.conf's variables, which a file
// that redefines builtin has in its hand. Whatever comes: what was read and is
// printed again is read as the same; a mistake is the file's, wrong usage; and
// no name, patch or module leads out of the scratch directory.
func FuzzDKMSValues(f *testing.F) {
	for _, pairs := range [][]string{
		{"PACKAGE_NAME", "note", "PACKAGE_VERSION", "1.0"},
		{"PACKAGE_NAME", "..", "PACKAGE_VERSION", "a/b"},
		{"PACKAGE_NAME", "n", "PACKAGE_VERSION", "1", "MAKE[0]", "make", "MAKE[2]", "make old", "MAKE_MATCH[2]", `^6\.1\.`},
		{"PATCH[0]", "../x", "PATCH[1]", "a.patch", "PATCH_MATCH[1]", "6.(12"},
		{"BUILT_MODULE_NAME[0]", "decoy", "BUILT_MODULE_LOCATION[0]", "/../", "BUILT_MODULE_NAME[1]", "../decoy"},
		{"BUILD_EXCLUSIVE_KERNEL", "^5", "BUILD_EXCLUSIVE_CONFIG", "CONFIG_A !CONFIG_B"},
		{"BUILD_EXCLUSIVE_KERNEL_MIN", "6.12.x", "MAKE[-1]", "", "MAKE[x]", "y"},
	} {
		f.Add([]byte(strings.Join(pairs, "\x00") + "\x00"))
	}
	f.Add([]byte("PACKAGE_NAME\x00cut"))
	scratch := f.TempDir()
	build := filepath.Join(scratch, "build")
	require.NoError(f, os.Mkdir(build, 0o755))
	for _, dir := range []string{scratch, build} { // one must never be found
		require.NoError(f, os.WriteFile(filepath.Join(dir, "decoy.ko"), nil, 0o644))
	}
	f.Fuzz(func(t *testing.T, values []byte) {
		conf, err := parseConf(slices.Concat([]byte(confMark+"\x00"), values, []byte(confEnd+"\x00")))
		if err != nil {
			require.True(t, IsUsage(err), err)
			return
		}
		again, err := parseConf(printConf(conf))
		require.NoError(t, err)
		require.Equal(t, conf, again)
		checkConf(t, conf, build)
	})
}

// printConf prints as confScript does.
func printConf(c *dkmsConf) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\x00", confMark)
	for name, value := range c.vars {
		fmt.Fprintf(&b, "%s\x00%s\x00", name, value)
	}
	for name, array := range c.arrays {
		for i, value := range array {
			fmt.Fprintf(&b, "%s[%d]\x00%s\x00", name, i, value)
		}
	}
	fmt.Fprintf(&b, "%s\x00", confEnd)
	return []byte(b.String())
}

// checkConf asks for everything that a build asks for, but runs nothing.
func checkConf(t *testing.T, conf *dkmsConf, build string) {
	t.Helper()
	if err := conf.check(""); err != nil {
		require.True(t, IsUsage(err), err)
	} else {
		dir := filepath.Join("work", conf.vars["PACKAGE_NAME"], conf.vars["PACKAGE_VERSION"])
		require.Len(t, strings.Split(dir, "/"), 3, "two folders, one in the other")
	}
	patches, err := conf.patches("6.12.1")
	require.True(t, err == nil || IsUsage(err), err)
	for _, p := range patches {
		require.True(t, filepath.IsLocal(p), p)
	}
	command, err := conf.makeCommand("6.12.1")
	require.True(t, err == nil || IsUsage(err), err)
	if command != "" {
		require.Contains(t, conf.arrays["MAKE"], indexOf(conf.arrays["MAKE"], command))
	}
	err = conf.exclusive("6.12.1", "x86_64", "CONFIG_A=y\n")
	var skip *Skip
	require.True(t, err == nil || errors.As(err, &skip) || IsUsage(err), err)
	files, _ := (&driverRun{externalBuild: &externalBuild{moduleBuild: &moduleBuild{}}}).dkmsModules(conf, build)
	for _, file := range files {
		require.Equal(t, filepath.Join(build, "decoy.ko"), file, "the one module that was built")
	}
}

func indexOf(array map[int]string, value string) int {
	for i, v := range array {
		if v == value {
			return i
		}
	}
	return -1 << 62 // not there
}
