package kconfig

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestVerifyExplains(t *testing.T) {
	tree := readTestTree(t, "x86_64")
	for name, c := range map[string]struct{ want, got, message string }{
		"needs":    {"CONFIG_DEBUG_KMEMLEAK=y", "CONFIG_HAVE_DEBUG_KMEMLEAK=y", "f:1: CONFIG_DEBUG_KMEMLEAK=y, but the kernel's config has it unset (needs DEBUG_KERNEL (not set))"},
		"selected": {"CONFIG_DEBUG_KMEMLEAK=y", "CONFIG_DEBUG_KERNEL=y", "(needs HAVE_DEBUG_KMEMLEAK (not set, selected by X86_64))"},
		"deep":     {"CONFIG_TMPFS=y", "CONFIG_MMU=y\nCONFIG_EXPERT=y", "(needs SHMEM (not set, itself needs SYSV (not set)))"},
		"menu":     {"CONFIG_BLOCK=y", "", "(needs (EXPERT || EMBEDDED) (EXPERT not set, EMBEDDED not set))"},
		"unknown":  {"CONFIG_FOO=y", "", "f:1: CONFIG_FOO=y, but this kernel has no such option for this architecture"},
		"choice":   {"CONFIG_UNWINDER_FP=y", "CONFIG_EXPERT=y\nCONFIG_UNWINDER_ORC=y", `(of the choice "Unwinder" the kernel took UNWINDER_ORC)`},
		"range": {"CONFIG_DEBUG_KMEMLEAK_MEM_POOL_SIZE=9", "CONFIG_DEBUG_KMEMLEAK=y\nCONFIG_DEBUG_KMEMLEAK_MEM_POOL_SIZE=200",
			"the kernel's config has it=200 (range 200 to 1000000)"},
		"no prompt": {"CONFIG_CRC32=y", "CONFIG_BLOCK=y\nCONFIG_EXPERT=y", "(cannot be set by hand, selected by MD)"},
		"raised":    {"# CONFIG_CRC32 is not set", "CONFIG_CRC32=y\nCONFIG_MD=y\nCONFIG_BLOCK=y", "CONFIG_CRC32=n, but the kernel's config has it=y (selected by MD=y)"},
		"bool":      {"CONFIG_SAMPLES=m", "", "(it is a bool: y or n)"},
	} {
		t.Run(name, func(t *testing.T) {
			err := Verify(parse(t, "f", c.want), parse(t, ".config", c.got), tree)
			require.ErrorContains(t, err, c.message)
		})
	}
}

func TestVerifyListsAll(t *testing.T) {
	want := parse(t, "f", "CONFIG_A=y\nCONFIG_B=0x10\nCONFIG_C=m\n# CONFIG_D is not set\n# where possible\nCONFIG_E=y\nCONFIG_S=\"x\"\n")
	err := Verify(want, parse(t, ".config", "CONFIG_B=0x0010\nCONFIG_C=y\nCONFIG_S=\"y\"\n"), nil)
	var all *VerifyError
	require.True(t, errors.As(err, &all))
	var names []string
	for _, m := range all.Mismatches {
		names = append(names, m.Want.Name+" "+m.Got)
	}
	assert.Equal(t, []string{"CONFIG_A n", "CONFIG_C y", `CONFIG_S "y"`}, names)
	assert.Len(t, strings.Split(err.Error(), "\n"), 3)
}

func TestVerifyContent(t *testing.T) {
	f := parse(t, "f", "CONFIG_A=y\n# CONFIG_B is not set\n")
	assert.NoError(t, Verify(f, f, nil))
}

func TestBaseTakesTheNamesTheKernelKnows(t *testing.T) {
	f, err := Base(readTestTree(t, "x86_64"), "x86_64")
	require.NoError(t, err)
	_, old := f.Get("DEBUG_KMEMLEAK_EARLY_LOG_SIZE")
	_, pool := f.Get("DEBUG_KMEMLEAK_MEM_POOL_SIZE")
	_, sample := f.Get("SAMPLE_KMEMLEAK")
	test, ok := f.Get("DEBUG_KMEMLEAK_TEST")
	assert.Equal(t, []bool{false, true, false, true}, []bool{old, pool, sample, ok})
	assert.Equal(t, "m", test.Value)
	_, verbose := f.Get("DEBUG_KMEMLEAK_VERBOSE")
	assert.False(t, verbose, "where known, and this kernel does not")
	filter, ok := f.Get("FAULT_INJECTION_STACKTRACE_FILTER")
	assert.True(t, ok)
	assert.Equal(t, WherePossible, filter.When)
}

// Where a kernel has neither name of a renamed option, Verify must speak of it.
func TestBaseKeepsTheFirstOfUnknownNames(t *testing.T) {
	f, err := Base(&Tree{}, "arm64")
	require.NoError(t, err)
	_, first := f.Get("SAMPLE_KMEMLEAK")
	_, second := f.Get("DEBUG_KMEMLEAK_TEST")
	assert.Equal(t, []bool{true, false}, []bool{first, second})
	require.ErrorContains(t, Verify(f, Fragment{}, &Tree{}), "CONFIG_SAMPLE_KMEMLEAK=m, but this kernel has no such option")
}

// An old name is read and handed on, and is not written again.
func TestVerifyOfAnOldName(t *testing.T) {
	tree, err := ReadTree(fstest.MapFS{"Kconfig": {Data: []byte("config NEW\n\tbool \"new\"\n\tdefault OLD\n\nconfig OTHER\n\tbool \"other\"\n\nconfig OLD\n\tbool\n\ttransitional\n")}}, "x86_64")
	require.NoError(t, err)
	require.Empty(t, tree.Unread)
	fragment := func(text string) Fragment {
		f, err := Parse(strings.NewReader(text), "f")
		require.NoError(t, err)
		return f
	}
	want := fragment("CONFIG_OLD=y\n")
	require.NoError(t, Known(want, tree))
	require.NoError(t, Verify(want, fragment("CONFIG_NEW=y\n"), tree))
	require.ErrorContains(t, Verify(want, fragment("CONFIG_OTHER=y\n"), tree), "f:1: CONFIG_OLD=y, but the kernel's config has it unset")
}

func TestKnown(t *testing.T) {
	tree := func(text string) *Tree {
		tree, err := ReadTree(fstest.MapFS{"Kconfig": {Data: []byte(text)}}, "x86_64")
		require.NoError(t, err)
		return tree
	}
	const a, c = "config A\n\tbool \"a\"\n", "config C\n\tint \"c\"\n"
	want, err := Parse(strings.NewReader("CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=16\n# where known: came in 6.6\nCONFIG_D=y\n"), "f")
	require.NoError(t, err)
	require.EqualError(t, Known(want, tree(a)), "f:3: CONFIG_C=16, but this kernel has no such option for this architecture")
	require.NoError(t, Known(want, tree(a+c)))
}

func TestFragmentsPerArchitecture(t *testing.T) {
	for arch, has := range map[string]string{"x86_64": "PVH", "arm64": "SERIAL_AMBA_PL011"} {
		f, err := Base(nil, arch)
		require.NoError(t, err)
		_, ok := f.Get(has)
		assert.True(t, ok, "%s: %s", arch, has)
		for _, never := range []string{"NET", "ACPI", "DEBUG_INFO"} {
			_, ok := f.Get(never)
			assert.False(t, ok, "%s: %s makes the kernel slow to build", arch, never)
		}
	}
	_, err := Base(nil, "mips")
	require.ErrorContains(t, err, `architecture "mips"`)
}
