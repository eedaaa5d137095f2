package render

import (
	"testing"

	"github.com/joshdk/go-junit"
	"github.com/stretchr/testify/require"
)

// TestJUnit reads the sample with a reader that is not ours.
func TestJUnit(t *testing.T) {
	suites, err := junit.Ingest(rendered(t, "junit"))
	require.NoError(t, err)
	require.Len(t, suites, 5, "one a run")

	type totals struct{ tests, failed, errors, skipped int }
	want := map[string]totals{
		"6.12.117 x86_64 leaky": {8, 6, 0, 2}, // three new leaks, three findings; one known, one suppressed
		"6.12.117 arm64 leaky":  {1, 1, 0, 0},
		"6.1.140 x86_64 leaky":  {1, 0, 1, 0}, // no verdict is an error
		"6.1.140 arm64 leaky":   {1, 0, 0, 1},
		"6.12.117 x86_64 quiet": {1, 0, 0, 0},
	}
	for _, s := range suites {
		got := totals{s.Totals.Tests, s.Totals.Failed, s.Totals.Error, s.Totals.Skipped}
		require.Equal(t, want[s.Name], got, s.Name)
	}

	leak := suites[0].Tests[0]
	require.Equal(t, "memory leak in leak_in_probe", leak.Name)
	require.Equal(t, "drivers/leaky/leaky.c", leak.Properties["file"])
	require.Equal(t, "42", leak.Properties["line"])
	require.ErrorContains(t, leak.Error, "unreferenced object 0xffff888003d5a1c0 (size 64):\n  comm")
}
