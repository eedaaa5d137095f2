package reports

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestCanaryPage wants the table of the page that tells of it.
func TestCanaryPage(t *testing.T) {
	page, err := os.ReadFile("../docs/canary.md")
	require.NoError(t, err)
	for _, p := range canaryParts {
		count, from := fmt.Sprint(p.count), ""
		if p.perCPU {
			count += " a CPU"
		}
		if p.since != (series{}) {
			from = fmt.Sprintf(" %d.%d", p.since.major, p.since.minor)
		}
		assert.Contains(t, string(page), fmt.Sprintf("\n| `%s` | %s |%s | %s |\n", p.text, count, from, p.why))
	}
	assert.Contains(t, string(page), fmt.Sprintf("%d on 6.1 and %d from 6.12", canaryTotal(&Capture{Kernel: "6.1"}), canaryTotal(&Capture{Kernel: "6.12"})))
}

func TestCanaryAddressesAreThoseOfItsCalls(t *testing.T) {
	const dmesg = `[    1.100000] kmemleak: Kmemleak testing
[    1.100001] kmemleak: kmalloc(32) = ffff888003a5c0e0
[    1.100002] kmemleak: __alloc_percpu(64, 4) = 0xffffffff817a4d7c
[    2.000000] kmemleak: Object 0xffff888002610000 (size 9001):
[    2.000001] kmemleak:   min_count = 1
[    2.000002] kmemleak:   count = 0
[    2.000003] kmemleak:   checksum = 3735928559
[    3.000000] kmemleak: Kmemleak testing
[    3.000001] kmemleak: kmalloc(32) = ffff888003a5c0c0
`
	// Neither what a dump= printed nor the module under test's own kmemleak-test.
	assert.Equal(t, []uint64{0xffff888003a5c0e0, 0xffffffff817a4d7c}, CanaryAddresses([]byte(dmesg)))
}
