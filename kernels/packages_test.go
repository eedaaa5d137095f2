package kernels

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDistribution(t *testing.T) {
	for text, want := range map[string]string{
		"ID=debian\nVERSION_ID=\"12\"\n":          "debian",
		"ID=linuxmint\nID_LIKE=\"ubuntu debian\"": "ubuntu",
		"ID=fedora\n":    "fedora",
		"ID=arch\n":      "arch",
		"ID=slackware\n": "debian",
	} {
		dir := t.TempDir()
		write(t, dir, "os-release", text)
		require.Equal(t, want, Distribution(filepath.Join(dir, "os-release")), text)
	}
}

// What a build needs is in the table, whatever it builds with.
func TestEveryToolHasItsPackage(t *testing.T) {
	for _, arch := range Arches() {
		for _, llvm := range []bool{false, true} {
			for _, program := range Tools(arch, llvm) {
				require.NotEmpty(t, packages[program].debian, program)
				require.NotEmpty(t, packages[program].fedora, program)
				require.NotEmpty(t, packages[program].arch, program)
			}
		}
	}
}
