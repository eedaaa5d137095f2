package scenarios

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// suite gives the folders that hold a kmemgate.yml.
func suite(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*/" + FileName)
	require.NoError(t, err)
	require.NotEmpty(t, files, "no scenario found")
	dirs := make([]string, len(files))
	for i, f := range files {
		dirs[i] = filepath.Dir(f)
	}
	return dirs
}

// Every scenario loads, says on its first line what it shows, and expects
// something on each pair that the suite is for, and on each that it names
// itself.
func TestScenariosAreWhole(t *testing.T) {
	for _, dir := range suite(t) {
		t.Run(dir, func(t *testing.T) {
			s, err := Load(dir)
			require.NoError(t, err)
			text, err := os.ReadFile(filepath.Join(dir, FileName))
			require.NoError(t, err)
			require.True(t, strings.HasPrefix(string(text), "# "), "the first line is a comment: what the scenario shows")
			pairs := slices.Clone(Pairs)
			for _, k := range s.Kernels {
				for _, a := range s.Arches {
					pairs = append(pairs, k+"/"+a)
				}
			}
			for _, p := range pairs {
				k, a, _ := strings.Cut(p, "/")
				_, ok := s.ExpectFor(k, a)
				require.True(t, ok, "nothing is expected on %s", p)
			}
		})
	}
}

// Kernel code is GPL-2.0 and says so where checkpatch looks for it.
func TestDriversCarryTheirLicence(t *testing.T) {
	files, err := filepath.Glob("*/*.c")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	parts, err := filepath.Glob("*/*/*.c")
	require.NoError(t, err)
	files = append(files, parts...)
	for _, f := range files {
		text, err := os.ReadFile(f)
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(string(text), "// SPDX-License-Identifier: GPL-2.0\n"), f)
		require.Contains(t, string(text), `MODULE_LICENSE("GPL")`, f)
		require.Contains(t, string(text), "MODULE_DESCRIPTION(", f)
	}
}
