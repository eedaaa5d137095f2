package history

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/reports"
)

// first is the evening on which the simulated nights begin.
var first = time.Date(2026, 11, 20, 22, 0, 0, 0, time.UTC)

// simulation fills a history night by night.
type simulation struct {
	t     *testing.T
	h     *History
	night int // 1, 2, …
	runs  int
}

func simulate(t *testing.T) *simulation {
	t.Helper()
	h, err := Open(t.Context(), filepath.Join(t.TempDir(), "history.sqlite"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	return &simulation{t: t, h: h}
}

// next begins a night; every run of it is made by add.
func (s *simulation) next() *simulation {
	s.night++
	s.runs = 0
	return s
}

// run makes a run of a scenario on the night's kernel, 6.12.(100+night).
func (s *simulation) run(scenario, arch string, functions ...string) reports.Run {
	s.runs++
	began := first.AddDate(0, 0, s.night-1).Add(time.Duration(s.runs) * time.Minute)
	r := reports.Run{
		Kernel: fmt.Sprintf("6.12.%d", 100+s.night), Arch: arch, Scenario: scenario, Verdict: reports.Clean,
		Started: began.Format(time.RFC3339), Timings: map[string]float64{"boot": 1, "work": 2, "total": 3},
		Built:     &reports.Built{Commit: fmt.Sprintf("%040x", s.night), Toolchain: "gcc 12.2.0", Content: fmt.Sprintf("night-%d", s.night)},
		Reproduce: "kmemgate run --kernel 6.12 scenarios/" + scenario,
	}
	for _, f := range functions {
		r.Leaks = append(r.Leaks, leakIn(f))
		r.Verdict = reports.Leaks
	}
	return r
}

func leakIn(function string) reports.Leak {
	return reports.Leak{
		Signature: "sig-" + function, Title: "memory leak in " + function, Status: reports.New, Kind: "object",
		Function: function, Module: "foo", File: "foo.c", Line: 42, Size: 64, Count: 3, Bytes: 192,
		Frames:  []reports.Frame{{Function: function, Offset: 0x20, Module: "foo", File: "foo.c", Line: 42}},
		Records: []string{"unreferenced object 0xffff888003b6c000 (size 64):\n  comm \"insmod\", pid 71\n  backtrace (crc 1f2e):\n    " + function + "+0x20/0x40 [foo]"},
	}
}

// add takes in a report of these runs.
func (s *simulation) add(runs ...reports.Run) Added {
	s.t.Helper()
	added, err := s.h.Add(s.t.Context(), reports.Report{Schema: reports.Schema, Verdict: reports.Clean, Runs: runs},
		Intake{Now: first.AddDate(0, 0, s.night-1).Add(4 * time.Hour)})
	require.NoError(s.t, err)
	return added
}

// states maps the function of every leak to its state.
func (s *simulation) states() map[string]State {
	s.t.Helper()
	leaks, err := s.h.Leaks(s.t.Context(), Query{})
	require.NoError(s.t, err)
	states := map[string]State{}
	for _, l := range leaks {
		states[l.Function] = l.State
	}
	return states
}

func functions(t *testing.T) func(leaks []Leak, err error) []string {
	return func(leaks []Leak, err error) []string {
		t.Helper()
		require.NoError(t, err)
		names := []string{}
		for _, l := range leaks {
			names = append(names, l.Function)
		}
		return names
	}
}

// threeNights is the story of issue 8, after a night on which all was well:
// leaky_probe appears, stays and is fixed; racy_init flickers.
func threeNights(t *testing.T, tell func(night int, s *simulation)) *simulation {
	s := simulate(t)
	s.next().add(s.run("dummy", "x86_64"), s.run("veth", "x86_64"), s.run("dummy", "arm64"))
	tell(0, s)
	s.next().add(s.run("dummy", "x86_64", "leaky_probe"), s.run("veth", "x86_64", "racy_init"), s.run("veth", "x86_64"))
	tell(1, s)
	s.next().add(s.run("dummy", "x86_64", "leaky_probe"), s.run("veth", "x86_64"))
	tell(2, s)
	s.next().add(s.run("dummy", "x86_64"), s.run("veth", "x86_64", "racy_init"), s.run("veth", "x86_64"))
	tell(3, s)
	return s
}

func TestThreeNights(t *testing.T) {
	ctx := context.Background()
	names := functions(t)
	threeNights(t, func(night int, s *simulation) {
		switch night {
		case 0:
			require.Empty(t, s.states())
			require.Empty(t, names(s.h.New(ctx, "", Query{})))
		case 1:
			require.Equal(t, map[string]State{"leaky_probe": Unconfirmed, "racy_init": Flaky}, s.states())
			require.ElementsMatch(t, []string{"leaky_probe", "racy_init"}, names(s.h.New(ctx, "", Query{})))
		case 2:
			require.Equal(t, map[string]State{"leaky_probe": Regression, "racy_init": Flaky}, s.states())
			require.Empty(t, names(s.h.New(ctx, "", Query{})), "both were seen the night before")
			require.ElementsMatch(t, []string{"leaky_probe", "racy_init"}, names(s.h.New(ctx, "2026-11-20", Query{})))
			require.Equal(t, []string{"leaky_probe"}, names(s.h.InState(ctx, Query{}, Regression)))
		case 3:
			require.Equal(t, map[string]State{"leaky_probe": Fixed, "racy_init": Flaky}, s.states())
			require.Equal(t, []string{"leaky_probe"}, names(s.h.InState(ctx, Query{}, Fixed)))
			require.Equal(t, []string{"racy_init"}, names(s.h.InState(ctx, Query{}, Flaky)))
		}
	})
}

func TestWhatIsKnownOfALeak(t *testing.T) {
	s := threeNights(t, func(int, *simulation) {})
	leaks, err := s.h.Leaks(t.Context(), Query{Scenario: "dummy"})
	require.NoError(t, err)
	require.Len(t, leaks, 1)
	l := leaks[0]
	require.Equal(t, "2026-11-21", l.First.Night)
	require.Equal(t, "6.12.102", l.First.Kernel)
	require.Equal(t, "2026-11-22", l.Last.Night)
	require.Equal(t, "6.12.103", l.Last.Kernel)
	require.Equal(t, "6.12.101", l.LastClean.Kernel)
	require.Equal(t, "6.12.104", l.FixedIn.Kernel)
	require.Equal(t, []string{"x86_64"}, l.Arches)
	require.Equal(t, [2]int{2, 4}, [2]int{l.Seen, l.Runs})
	require.Equal(t, [2]int64{3, 192}, [2]int64{l.Count, l.Bytes})
	require.Contains(t, l.Record, "leaky_probe+0x20/0x40 [foo]")
	require.Equal(t, "foo.c", l.Frames[0].File)
	require.Equal(t, "2 of 4 runs saw it; it is gone since 6.12.104, night 2026-11-23", l.Why)
}
