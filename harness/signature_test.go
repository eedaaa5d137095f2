package harness_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/reports"
	"github.com/kmemgate/kmemgate/scenarios"
)

// Every pair that the tests know. Of the series, each prints other records
// (6.13 has no addresses of frames) and calls other allocators (kmalloc_trace,
// __kmalloc_cache_noprof), and arm64 has other frames below the driver's.
var allPairs = []string{"6.1/x86_64", "6.1/arm64", "6.12/x86_64", "6.12/arm64", "7/x86_64", "7/arm64"}

// signatureRow finds a leak's row in the page that users compare with.
// Example: | `where-inlined` | `memory leak in new_entry` | `3f0c9a51d2be` |
var signatureRow = regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| `(memory leak in [a-z_]+)` \\| `([0-9a-f]{12})` \\|$")

// TestSignatureAcrossKernels gates one leaky driver and one leaky inlined
// helper on every kernel and architecture at hand: what the page promises is
// one signature and one title each.
func TestSignatureAcrossKernels(t *testing.T) {
	gate := realGate(t)
	page, err := os.ReadFile("../docs/baseline.md")
	require.NoError(t, err)
	rows := signatureRow.FindAllStringSubmatch(string(page), -1)
	require.Len(t, rows, 2)
	for _, row := range rows {
		for _, pair := range allPairs {
			t.Run(row[1]+"/"+pair, func(t *testing.T) {
				t.Parallel()
				needPairs(t, gate, pair)
				s, err := scenarios.Load(filepath.Join("../scenarios", row[1]))
				require.NoError(t, err)
				source, arch, _ := strings.Cut(pair, "/")
				run, err := gate.One(t.Context(), s, source, arch)
				require.NoError(t, err)
				require.Equal(t, reports.Leaks, run.Verdict, "%s %s", run.Reason, run.Detail)
				require.Len(t, run.Leaks, 1)
				assert.Equal(t, row[2], run.Leaks[0].Title)
				assert.Equal(t, row[3], run.Leaks[0].Signature)
			})
		}
	}
}
