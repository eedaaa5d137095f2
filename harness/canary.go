package harness

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/kmemgate/kmemgate/reports"
)

// What kmemleak-test says of itself and of each object it leaks, with
// no_hash_pointers (samples/kmemleak/kmemleak-test.c).
// Example: [    1.204117] kmemleak: kmalloc(32) = ffff888003a5b2a0
var (
	canaryStart = regexp.MustCompile(`^(?:<\d+>)?\[[ \d.]+\][^:]*kmemleak: Kmemleak testing$`)
	canaryLine  = regexp.MustCompile(`^(?:<\d+>)?\[[ \d.]+\][^:]*kmemleak: [a-z_]+\([^)]*(?:\([^)]*\))?\) = (?:0x)?([0-9a-f]{8,16})$`)
)

// canary finds the canary's load and the addresses it printed. The same module
// may be under test later, so only its first load is the canary's.
func (a *answer) canary(dmesg []byte) reports.Canary {
	var c reports.Canary
	for _, l := range a.loads {
		if l.Canary {
			c.PID, c.Begin, c.End = l.PID, l.Begin, l.End
		}
	}
	if c.PID != 0 {
		c.Addresses = canaryAddresses(string(dmesg))
	}
	return c
}

// canaryAddresses reads the addresses of the first load in a kernel log.
func canaryAddresses(dmesg string) []uint64 {
	var addrs []uint64
	loads := 0
	for line := range strings.Lines(dmesg) {
		line = strings.TrimRight(line, "\r\n")
		if canaryStart.MatchString(line) {
			loads++
		}
		m := canaryLine.FindStringSubmatch(line)
		if m == nil || loads != 1 {
			continue
		}
		if addr, err := strconv.ParseUint(m[1], 16, 64); err == nil {
			addrs = append(addrs, addr)
		}
	}
	return addrs
}
