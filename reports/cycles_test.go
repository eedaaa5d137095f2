package reports

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestPerCycle: three cycles that begin at 3000, 3100 and 3200.
func TestPerCycle(t *testing.T) {
	for name, tt := range map[string]struct {
		jiffies []uint64
		growth  float64
		in      []int
	}{
		"once, in the first":   {[]uint64{3010}, 0, []int{1}},
		"several, in no other": {[]uint64{3010, 3020, 3099}, 0, []int{1}},
		"one a cycle":          {[]uint64{3010, 3110, 3210}, 1, []int{1, 2, 3}},
		"from the first jiffy": {[]uint64{3000, 3100, 3200}, 1, []int{1, 2, 3}},
		"but the first":        {[]uint64{3110, 3111, 3210, 3211}, 2, []int{2, 3}},
		"in the last":          {[]uint64{3250}, 0.5, []int{3}},
	} {
		t.Run(name, func(t *testing.T) {
			c := canaryCapture()
			for n := range 3 {
				begin := 3000 + 100*uint64(n)
				c.Loads = append(c.Loads, Load{Module: "foo", UnderTest: true, Cycle: n + 1, PID: 91, Begin: begin, End: begin + 50})
			}
			for i, j := range tt.jiffies {
				c.leak(object(fooAddr+uint64(i)*64, 64, 91, int(j), "foo_init+0x3/0x40 [foo]"))
			}
			run := Judge(c, Policy{})
			require.Len(t, run.Leaks, 1, run.Detail)
			assert.Equal(t, tt.growth, run.Leaks[0].PerCycle)
			assert.Equal(t, tt.in, run.Leaks[0].Cycles)
		})
	}
}

func TestOneCycle(t *testing.T) {
	c := canaryCapture()
	c.Loads = append(c.Loads, Load{Module: "foo", UnderTest: true, Cycle: 1, PID: 91, Begin: 3000, End: 3050})
	c.leak(object(fooAddr, 64, 91, 3010, "foo_init+0x3/0x40 [foo]"))
	run := Judge(c, Policy{})
	assert.Zero(t, run.Leaks[0].PerCycle)
	assert.Nil(t, run.Leaks[0].Cycles)
}
