package reports

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestAudit has a module with several imports: one that two functions call through
// an inlined helper, one that a single function calls, and one that no code calls
// but a table holds.
func TestAudit(t *testing.T) {
	for arch := range toolchains {
		t.Run(arch, func(t *testing.T) {
			path, _ := compileModule(t, arch)
			m, err := openModule(path)
			require.NoError(t, err)
			assert.Equal(t, []AuditEntry{
				{Module: "driver", Import: "kmemleak_ignore", Function: "driver_exit"},
				{Module: "driver", Import: "kmemleak_ignore", Function: "driver_init"},
				{Module: "driver", Import: "kmemleak_no_scan"},
				{Module: "driver", Import: "kmemleak_not_leak", Function: "second"},
			}, m.audit("driver"))
		})
	}
}
