package harness

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestTimersAreCoalesced asks a process of a script how late its timers may be.
func TestTimersAreCoalesced(t *testing.T) {
	dir := askGuest(t, "cat /proc/self/timerslack_ns")
	assert.Equal(t, "4000000\n", string(readFile(t, filepath.Join(dir, "exercise.log"))))
}
