package reports

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

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
