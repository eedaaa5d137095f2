package kernels

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The kernel's tree below /lib/modules is found as make, shell and dkms.conf write
// it; what is installed there is none.
func TestModulesTree(t *testing.T) {
	for text, want := range map[string]string{
		"KDIR ?= /lib/modules/$(shell uname -r)/build":            "KDIR ?= <build>",
		"KDIR := /lib/modules/$(KVER)/build/":                     "KDIR := <build>/",
		"\tmake -C /lib/modules/`uname -r`/build M=$(PWD)":        "\tmake -C <build> M=$(PWD)",
		"\tmake -C /lib/modules/$$(uname -r)/source":              "\tmake -C <source>",
		". /lib/modules/${kernelver}/build/.config":               ". <build>/.config",
		"test -d /lib/modules/$kernelver/build":                   "test -d <build>",
		"cp m.ko /lib/modules/$(KVER)/extra/build.ko":             "cp m.ko /lib/modules/$(KVER)/extra/build.ko",
		"ls /lib/modules/$(shell uname -r)/builtin":               "ls /lib/modules/$(shell uname -r)/builtin",
		"A=/lib/modules/$(A)/build B=/lib/modules/${B}/source x":  "A=<build> B=<source> x",
		"/lib/modules/6.12.7/build is somebody's own, and stays":  "/lib/modules/6.12.7/build is somebody's own, and stays",
		"$(wildcard /lib/modules/$(shell uname -r)/build/.config": "$(wildcard <build>/.config",
	} {
		got := modulesTree.ReplaceAllString(text, "<$1>")
		require.Equal(t, want, got)
	}
}
