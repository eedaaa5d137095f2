package cli

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/kernels"
)

func TestKernelWords(t *testing.T) {
	built := func(release, origin string) kernels.Listed {
		return kernels.Listed{Kernel: kernels.Kernel{Release: release, Origin: origin}}
	}
	require.Equal(t, []string{"6.12", "6.12.117", "/src/linux", "6.1.192"}, kernelWords([]kernels.Listed{
		built("6.12.117", "Debian (linux-source-6.12)"), built("6.12.117", "/src/linux"),
		built("6.1.192", "https://example.org/linux-6.1.192.tar.xz"), built("6.12.117", "Debian (linux-source-6.12)"),
	}))
	require.Equal(t, []string{"6.12"}, kernelWords(nil))
}
