package scenarios

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMatchKernel(t *testing.T) {
	cases := []struct {
		pattern, release string
		want             bool
	}{
		{"6.12", "6.12.117", true},
		{"6.12", "6.12.117-deb12u1", true},
		{"6.1", "6.12.117", false},
		{"6", "6.1.192", true},
		{"6.12.117", "6.12.117", true},
		{"6.12.11", "6.12.117", false},
		{">=6.12", "7.3.4", true},
		{">=6.12", "6.12", true},
		{">6.12", "6.12.117", false},
		{"<6.12", "6.1.192", true},
		{"<6.6", "6.6.9", false},
		{"<7", "6.12.117", true},
		{">=7", "7.3.4-1~bpo13", true},
		{"7.x", "7.3.4", false},
		{"6.12", "", false},
	}
	for _, c := range cases {
		require.Equal(t, c.want, MatchKernel(c.pattern, c.release), "%s of %s", c.pattern, c.release)
	}
}

func TestExpectForTakesTheFirstThatFits(t *testing.T) {
	s := Scenario{Expect: Expectations{
		{Kernels: []string{"<6.12"}, Verdict: "skipped"},
		{Arches: []string{"arm64"}, Verdict: "clean"},
		{Kernels: []string{"6.12"}, Verdict: "leaks"},
	}}
	verdict := func(release, arch string) string {
		e, _ := s.ExpectFor(release, arch)
		return e.Verdict
	}
	require.Equal(t, "skipped", verdict("6.1.192", "arm64"))
	require.Equal(t, "clean", verdict("6.12.117", "arm64"))
	require.Equal(t, "leaks", verdict("6.12.117", "x86_64"))
	_, ok := s.ExpectFor("7.3.4", "x86_64")
	require.False(t, ok)
}

// Only what is said to be kmalloc's is rounded: arm64 has no small buckets
// before 6.5, but caches and per-CPU memory of any size.
func TestExpectForRoundsAsKmallocDoes(t *testing.T) {
	s := Scenario{Expect: Expectations{{Verdict: "leaks", Leaks: []ExpectedLeak{{Kmalloc: 64}, {Size: 64}, {Size: 64, Kind: "percpu"}, {Kmalloc: 256}, {}}}}}
	sizes := func(release, arch string) (out []int64) {
		e, _ := s.ExpectFor(release, arch)
		for _, l := range e.Leaks {
			out = append(out, l.Size)
		}
		return out
	}
	require.Equal(t, []int64{128, 64, 64, 256, 0}, sizes("6.1.192", "arm64"))
	require.Equal(t, []int64{64, 64, 64, 256, 0}, sizes("6.1.192", "x86_64"), "the scenario itself is not changed")
	require.Equal(t, []int64{64, 64, 64, 256, 0}, sizes("6.5.1", "arm64"))
}

func TestCheckTakesOneOfSeveralReasons(t *testing.T) {
	e := Expectation{Verdict: "none", Reason: "unsettled|canary-missing"}
	require.Empty(t, e.Check(Observed{Verdict: "none", Reason: "canary-missing"}))
	require.NotEmpty(t, e.Check(Observed{Verdict: "none", Reason: "canary"}))
	require.NotEmpty(t, e.Check(Observed{Verdict: "none"}))
}

func TestCheckAgrees(t *testing.T) {
	e := Expectation{
		Verdict: "leaks",
		Leaks:   []ExpectedLeak{{Function: "f"}, {Function: "f", Size: 64}},
		Dmesg:   []string{"^one$"}, NoDmesg: []string{"three"}, Output: []string{"done"},
	}
	require.Empty(t, e.Check(Observed{
		Verdict: "leaks",
		// The 64 bytes come first: the wish without a size must leave them.
		Leaks: []ObservedLeak{
			{Function: "f", Size: 64, Status: "new"}, {Function: "f", Size: 32, Status: "new"},
			{Function: "g", Status: "noise"}, {Function: "h", Status: "transient"},
		},
		Dmesg: "zero\none\ntwo", Output: "done\n",
	}))
}

func TestCheckSaysWhatDiffers(t *testing.T) {
	e := Expectation{
		Verdict: "leaks", Leaks: []ExpectedLeak{{Function: "f", Count: 2}},
		Dmesg: []string{"^one$"}, NoDmesg: []string{"t.o"}, Output: []string{"done"},
	}
	require.Equal(t, []string{
		"verdict: want leaks, got none (panic): at boot",
		"leak: want {function: f, status: new, count: 2}, got {function: f, status: new, count: 3}",
		"leak: want none but those listed, got {function: f, status: new, count: 3}",
		"leak: want none but those listed, got {function: g, status: new}",
		`dmesg: want a line that matches "^one$", got none`,
		`output: want a line that matches "done", got none`,
		`dmesg: want no line that matches "t.o", got "two"`,
	}, e.Check(Observed{
		Verdict: "none", Reason: "panic", Detail: "at boot",
		Leaks: []ObservedLeak{{Function: "f", Count: 3, Status: "new"}, {Function: "g", Status: "new"}},
		Dmesg: "one two",
	}))
	require.Equal(t, []string{"reason: want hang, got panic"},
		Expectation{Verdict: "none", Reason: "hang"}.Check(Observed{Verdict: "none", Reason: "panic"}))
}

func TestCheckListsAStatusThatIsNotNew(t *testing.T) {
	e := Expectation{Verdict: "clean", Leaks: []ExpectedLeak{{Function: "f", Status: "suppressed"}}}
	require.Empty(t, e.Check(Observed{Verdict: "clean", Leaks: []ObservedLeak{{Function: "f", Status: "suppressed"}}}))
	require.Len(t, e.Check(Observed{Verdict: "clean"}), 1)
}

func TestCheckOfNoVerdictComparesListedLeaksOnly(t *testing.T) {
	o := Observed{Verdict: "none", Reason: "panic", Detail: "at boot", Leaks: []ObservedLeak{{Function: "g"}}}
	e := Expectation{Verdict: "none", Reason: "panic", Detail: []string{"^at"}}
	require.Empty(t, e.Check(o))
	e.Detail = []string{"^boot"}
	e.Leaks = []ExpectedLeak{{Function: "f"}}
	require.Len(t, e.Check(o), 3)
}
