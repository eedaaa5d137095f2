package reports

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAudit(t *testing.T) {
	for arch := range toolchains {
		t.Run(arch, func(t *testing.T) {
			path, _ := compileModule(t, arch)
			m, err := openModule(path)
			require.NoError(t, err)
			assert.Equal(t, []AuditEntry{
				{Module: "driver", Import: "kmemleak_ignore", Function: "driver_exit"},
				{Module: "driver", Import: "kmemleak_ignore", Function: "driver_init"},
			}, m.audit("driver"))
		})
	}
}
