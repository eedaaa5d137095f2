package history

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNewSinceKernel(t *testing.T) {
	s := simulate(t)
	s.next().add(s.run("dummy", "x86_64", "old"))        // 6.12.101
	s.next().add(s.run("dummy", "x86_64", "old"))        // 6.12.102
	s.next().add(s.run("dummy", "x86_64", "old", "new")) // 6.12.103
	newer := s.next().run("dummy", "x86_64", "old", "newest")
	newer.Kernel = "6.13.1"
	s.add(newer)
	names := functions(t)
	require.ElementsMatch(t, []string{"new", "newest"}, names(s.h.NewSinceKernel(t.Context(), "6.12.102", Query{})), "old is known on 6.13 too: 6.12 had it")
	require.Equal(t, []string{"newest"}, names(s.h.NewSinceKernel(t.Context(), "6.12.103", Query{})))
	require.Empty(t, names(s.h.NewSinceKernel(t.Context(), "7.0", Query{})))
	_, err := s.h.NewSinceKernel(t.Context(), "main", Query{})
	require.ErrorIs(t, err, ErrKernel)
}

// On another kernel line, and in another scenario, a leak is a leak of its
// own; the line it is known on is told.
func TestLinesAndScenariosAreApart(t *testing.T) {
	s := simulate(t)
	other := s.next().run("dummy", "x86_64", "f")
	other.Kernel = "6.1.150"
	s.add(other, s.run("veth", "x86_64", "f"), s.run("dummy", "x86_64"))
	s.next().add(s.run("dummy", "x86_64", "f"), s.run("dummy", "arm64", "f"))
	leaks, err := s.h.New(t.Context(), "", Query{})
	require.NoError(t, err)
	require.Len(t, leaks, 1)
	require.Equal(t, []string{"dummy", "6.12"}, []string{leaks[0].Scenario, leaks[0].Line})
	require.Equal(t, []string{"6.1"}, leaks[0].Elsewhere)
	require.Equal(t, []string{"arm64", "x86_64"}, leaks[0].Arches)
	require.Equal(t, Regression, leaks[0].State, "the run on arm64 is the second one")
	all, err := s.h.Leaks(t.Context(), Query{})
	require.NoError(t, err)
	require.Len(t, all, 3)
	only, err := s.h.Leaks(t.Context(), Query{Line: "6.1", Signature: "sig-f"})
	require.NoError(t, err)
	require.Len(t, only, 1)
}

func TestQuestionsOfAnEmptyHistory(t *testing.T) {
	h := simulate(t).h
	leaks, err := h.Leaks(t.Context(), Query{})
	require.NoError(t, err)
	require.Empty(t, leaks)
	_, err = h.New(t.Context(), "", Query{})
	require.ErrorIs(t, err, ErrNoNight)
	_, err = h.Page(t.Context(), Query{}, first)
	require.ErrorIs(t, err, ErrNoNight)
	_, err = h.Slower(t.Context(), "2026-01-01", Query{})
	require.ErrorIs(t, err, ErrNoNight)
}

// What was last seen before the window is not told again.
func TestWindow(t *testing.T) {
	s := simulate(t)
	s.next().add(s.run("dummy", "x86_64", "f"), s.run("dummy", "x86_64", "f"))
	for range 4 {
		s.next().add(s.run("dummy", "x86_64"))
	}
	require.Equal(t, map[string]State{"f": Fixed}, s.states())
	for nights, want := range map[int]int{4: 0, 5: 1} {
		leaks, err := s.h.Leaks(t.Context(), Query{Nights: nights})
		require.NoError(t, err)
		require.Len(t, leaks, want, "%d nights", nights)
	}
}

// Why a leak is flaky is said as it is: whether one build gave both answers.
func TestWhyFlaky(t *testing.T) {
	s := threeNights(t, func(int, *simulation) {})
	leaks, err := s.h.InState(t.Context(), Query{}, Flaky)
	require.NoError(t, err)
	require.Equal(t, "2 of 6 runs saw it: it comes and goes on the same build", leaks[0].Why)

	s = simulate(t)
	s.next().add(s.run("dummy", "x86_64", "f"))
	s.next().add(s.run("dummy", "x86_64"))
	s.next().add(s.run("dummy", "x86_64", "f"))
	leaks, err = s.h.InState(t.Context(), Query{}, Flaky)
	require.NoError(t, err)
	require.Equal(t, "2 of 3 runs saw it: it comes and goes, never twice in a row", leaks[0].Why)
}
