package history

import (
	"context"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/reports"
)

func TestSameRunCountsOnce(t *testing.T) {
	s := simulate(t).next()
	run := s.run("dummy", "x86_64", "leaky_probe")
	require.Equal(t, Added{Night: "2026-11-20", Runs: 1}, s.add(run))
	require.Equal(t, Added{Night: "2026-11-20", Duplicates: 1}, s.add(run))
	merged := run // the same run in a merged report lies in another folder
	merged.Dir, merged.Reproduce = "cells/1/6.12.101/x86_64/dummy", "kmemgate run elsewhere"
	other := s.run("dummy", "x86_64")
	require.Equal(t, Added{Night: "2026-11-20", Runs: 1, Duplicates: 1}, s.add(merged, other))
	require.Equal(t, 2, s.count("runs"))
	require.Equal(t, 1, s.count("sightings"))
}

func (s *simulation) count(table string) (n int) {
	s.t.Helper()
	require.NoError(s.t, s.h.db.QueryRow("SELECT count(*) FROM "+table).Scan(&n))
	return n
}

// A report with one bad run leaves no trace of the good ones.
func TestRefusedReportsLeaveNothing(t *testing.T) {
	for _, c := range []struct {
		want  string
		spoil func(r *reports.Run)
	}{
		{`unknown verdict "green"`, func(r *reports.Run) { r.Verdict = "green" }},
		{"want all three", func(r *reports.Run) { r.Scenario = "" }},
		{"number -1", func(r *reports.Run) { r.Leaks[0].Count = -1 }},
		{"has no signature", func(r *reports.Run) { r.Leaks[0].Signature = "" }},
		{"unknown status", func(r *reports.Run) { r.Leaks[0].Status = "fresh" }},
		{"NaN seconds", func(r *reports.Run) { r.Timings["boot"] = math.NaN() }},
	} {
		s := simulate(t).next()
		good, bad := s.run("dummy", "x86_64", "a"), s.run("veth", "x86_64", "b")
		c.spoil(&bad)
		_, err := s.h.Add(t.Context(), reports.Report{Schema: reports.Schema, Runs: []reports.Run{good, bad}}, Intake{})
		require.ErrorIs(t, err, ErrReport)
		require.ErrorContains(t, err, "run 2: ")
		require.ErrorContains(t, err, c.want)
		require.Zero(t, s.count("runs")+s.count("nights")+s.count("signatures"))
	}
	s := simulate(t)
	_, err := s.h.Add(t.Context(), reports.Report{Schema: "kmemgate.report/v9"}, Intake{})
	require.ErrorContains(t, err, `schema "kmemgate.report/v9"`)
	_, err = s.h.Add(t.Context(), reports.Report{Schema: reports.Schema}, Intake{Night: "a b"})
	require.ErrorContains(t, err, "without spaces")
}

func TestNightOf(t *testing.T) {
	for at, want := range map[string]string{
		"2026-11-22T22:00:00Z":      "2026-11-22",
		"2026-11-23T02:00:00Z":      "2026-11-22", // the same night
		"2026-11-23T11:59:59Z":      "2026-11-22",
		"2026-11-23T12:00:00Z":      "2026-11-23",
		"2026-11-23T01:00:00+14:00": "2026-11-21",
	} {
		tm, err := time.Parse(time.RFC3339, at)
		require.NoError(t, err)
		require.Equal(t, want, NightOf(tm), at)
	}
}

// Old reports can be taken in after newer ones: the label's date orders them.
func TestIntakeOutOfOrder(t *testing.T) {
	h := simulate(t).h
	for _, night := range []string{"2026-11-22", "2026-11-20", "2026-11-21"} {
		run := simulate(t).next().run("dummy", "x86_64")
		run.Started, run.Built = "", nil
		run.Detail = night // or they would be the same run
		if night != "2026-11-20" {
			run.Verdict, run.Leaks = reports.Leaks, []reports.Leak{leakIn("leaky_probe")}
		}
		_, err := h.Add(t.Context(), reports.Report{Schema: reports.Schema, Runs: []reports.Run{run}}, Intake{Night: night})
		require.NoError(t, err)
	}
	leaks, err := h.Leaks(t.Context(), Query{})
	require.NoError(t, err)
	require.Len(t, leaks, 1)
	require.Equal(t, Regression, leaks[0].State)
	require.Equal(t, []string{"2026-11-20", "2026-11-21", "2026-11-22"}, []string{leaks[0].LastClean.Night, leaks[0].First.Night, leaks[0].Last.Night})
}

// What has no verdict says nothing: neither that a leak is there nor that it
// is gone.
func TestNoVerdictIsNoEvidence(t *testing.T) {
	s := simulate(t)
	s.next().add(s.run("dummy", "x86_64"))
	s.next().add(s.run("dummy", "x86_64", "leaky_probe"), s.run("dummy", "x86_64", "leaky_probe"))
	broken := s.next().run("dummy", "x86_64")
	broken.Verdict, broken.Reason = reports.None, reports.ReasonPanic
	s.add(broken)
	require.Equal(t, map[string]State{"leaky_probe": Regression}, s.states())
	broken = s.next().run("veth", "x86_64", "half_read")
	broken.Verdict, broken.Reason = reports.None, reports.ReasonCut
	s.add(broken)
	require.Equal(t, map[string]State{"leaky_probe": Regression}, s.states())
}

// A walk's oops has no orphan, and is followed like a leak.
func TestFindingsOfAWalk(t *testing.T) {
	s := simulate(t)
	for range 2 {
		run := s.next().run("dummy", "x86_64")
		run.Verdict = reports.Leaks
		run.Walk = &reports.WalkResult{Findings: []reports.Finding{{N: s.night, Kind: "oops", Stack: []reports.Frame{{Function: "dummy_setup", Module: "dummy"}}, Text: "BUG: kernel NULL pointer dereference"}}}
		s.add(run)
	}
	leaks, err := s.h.Leaks(t.Context(), Query{})
	require.NoError(t, err)
	require.Len(t, leaks, 1)
	require.Equal(t, "oops where an allocation fails in dummy_setup", leaks[0].Title)
	require.Equal(t, Regression, leaks[0].State)
	require.Contains(t, leaks[0].Record, "NULL pointer")
	heat, err := s.h.Heat(t.Context(), Query{})
	require.NoError(t, err)
	require.Equal(t, HeatCell{Verdict: reports.Leaks, Runs: 1, Seconds: 3}, heat.Rows[0].Nights[1])
}

// TestMain lets the test binary be a second process that writes.
func TestMain(m *testing.M) {
	if path := os.Getenv("HISTORY_WRITER"); path != "" {
		id, _ := strconv.Atoi(os.Getenv("HISTORY_ID"))
		if err := writeRuns(context.Background(), path, id, 20); err != nil {
			os.Stderr.WriteString(err.Error())
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// writeRuns adds n reports, all of the same cell and the same leak.
func writeRuns(ctx context.Context, path string, id, n int) error {
	h, err := Open(ctx, path)
	if err != nil {
		return err
	}
	defer h.Close()
	for i := range n {
		run := reports.Run{Kernel: "6.12.117", Arch: "x86_64", Scenario: "dummy", Verdict: reports.Leaks,
			Detail: strconv.Itoa(id) + "/" + strconv.Itoa(i), Leaks: []reports.Leak{leakIn("leaky_probe")}}
		if _, err := h.Add(ctx, reports.Report{Schema: reports.Schema, Runs: []reports.Run{run}}, Intake{Night: "2026-11-22"}); err != nil {
			return err
		}
	}
	return nil
}

// Three processes and two goroutines begin with no file at all and write at
// once: nothing is lost, nothing is there twice.
func TestManyWriters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.sqlite")
	var all sync.WaitGroup
	for id := range 5 {
		all.Go(func() {
			if id >= 3 {
				assert.NoError(t, writeRuns(t.Context(), path, id, 20))
				return
			}
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
			cmd.Env = append(os.Environ(), "HISTORY_WRITER="+path, "HISTORY_ID="+strconv.Itoa(id))
			out, err := cmd.CombinedOutput()
			assert.NoError(t, err, "%s", out)
		})
	}
	all.Wait()
	h, err := OpenExisting(t.Context(), path)
	require.NoError(t, err)
	defer h.Close()
	var runs, seen, cells, check = 0, 0, 0, ""
	require.NoError(t, h.db.QueryRow("SELECT (SELECT count(*) FROM runs), (SELECT seen FROM tracks), (SELECT count(*) FROM cells), (SELECT integrity_check FROM pragma_integrity_check)").
		Scan(&runs, &seen, &cells, &check))
	require.Equal(t, []any{100, 100, 1, "ok"}, []any{runs, seen, cells, check})
}
