package history

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// took adds a night on which dummy took so many seconds, by phase.
func (s *simulation) took(boot, work float64) {
	run := s.next().run("dummy", "x86_64")
	run.Timings = map[string]float64{"boot": boot, "work": work, "total": boot + work}
	s.add(run)
}

func TestSlower(t *testing.T) {
	for _, c := range []struct {
		why   string
		work  []float64 // by night; boot is always 1 s
		slow  bool
		limit float64
	}{
		{"twice the time, without noise", []float64{9, 9, 9, 9, 9, 20}, true, 11},
		{"within ten percent", []float64{9, 9, 9, 9, 9, 10}, false, 0},
		{"within the noise: MAD is 2 s", []float64{5, 7, 9, 11, 13, 16}, false, 0},
		{"beyond the noise", []float64{5, 7, 9, 11, 13, 22}, true, 10 + 4*1.4826*2},
		{"one busy night before does not hide it", []float64{9, 9, 90, 9, 9, 20}, true, 11},
		{"four nights are too few to tell", []float64{9, 9, 9, 9, 20}, false, 0},
		{"quick things: less than half a second more", []float64{.1, .1, .1, .1, .1, .5}, false, 0},
		{"quicker", []float64{9, 9, 9, 9, 9, 2}, false, 0},
	} {
		s := simulate(t)
		for _, work := range c.work {
			s.took(1, work)
		}
		slower, err := s.h.Slower(t.Context(), "", Query{})
		require.NoError(t, err)
		if !c.slow {
			require.Empty(t, slower, c.why)
			continue
		}
		require.Len(t, slower, 1, c.why)
		require.InDelta(t, c.limit, slower[0].Limit, 1e-9, c.why)
		require.Equal(t, "work", slower[0].Phase, c.why)
		require.Equal(t, "2026-11-25", slower[0].Night)
	}
}

// A night of the past is judged by the nights before it, not by those after.
func TestSlowerInThePast(t *testing.T) {
	s := simulate(t)
	for _, work := range []float64{9, 9, 9, 9, 9, 20, 9, 9, 9, 9, 9, 9} {
		s.took(1, work)
	}
	slower, err := s.h.Slower(t.Context(), "2026-11-25", Query{})
	require.NoError(t, err)
	require.Len(t, slower, 1)
	require.Equal(t, []float64{21, 10, 5}, []float64{slower[0].Seconds, slower[0].Before, float64(slower[0].Nights)})
	slower, err = s.h.Slower(t.Context(), "", Query{})
	require.NoError(t, err)
	require.Empty(t, slower)
}

func TestDurations(t *testing.T) {
	s := simulate(t)
	s.next().add(s.run("dummy", "arm64"), s.run("veth", "arm64"), s.run("dummy", "x86_64"))
	s.next().add(s.run("dummy", "x86_64"), s.run("dummy", "x86_64"), s.run("veth", "x86_64"))
	took, err := s.h.Durations(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[Pair]float64{{"6.12", "arm64"}: 6, {"6.12", "x86_64"}: 6}, took, "a pair that did not run keeps its last time; a second run is no more work")
}

func TestTookKnowsKernelsAsTheyAreNamed(t *testing.T) {
	took := map[Pair]float64{{"6.1", "arm64"}: 1, {"6.12", "arm64"}: 12, {"7.3", "arm64"}: 73, {"7.10", "arm64"}: 710, {"7.11", "x86_64"}: 711, {"70.1", "arm64"}: 701}
	for kernel, want := range map[string]float64{
		"6.1": 1, "6.1.192": 1, "6.12": 12, "debian:6.12": 12, "6": 12, "7": 710, "70": 701, "7.3.4": 73, "8": 0, "/src/linux": 0,
	} {
		require.InDelta(t, want, Took(took, kernel, "arm64"), 0, kernel)
	}
	require.InDelta(t, 711, Took(took, "7", "x86_64"), 0)
}
