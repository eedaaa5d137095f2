package history

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/reports"
)

// fill makes a history of n runs: nights of 2000 runs on 1000 cells, twice
// each, every tenth with a leak of one of 300 signatures.
func fill(tb testing.TB, n int) *History {
	tb.Helper()
	h, err := Open(tb.Context(), filepath.Join(tb.TempDir(), "history.sqlite"))
	require.NoError(tb, err)
	tb.Cleanup(func() { h.Close() })
	count := "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i+1 FROM n WHERE i+1 < %d) "
	at := first.UnixMilli()
	for _, q := range []string{
		fmt.Sprintf("INSERT INTO nights (id, label, at) "+count+"SELECT i+1, 'n'||i, %d + i*86400000 FROM n", n/2000, at),
		fmt.Sprintf("INSERT INTO cells (id, scenario, line, arch) "+count+"SELECT i+1, 's'||(i/4), '6.'||(i%%2), iif(i%%4<2,'x86_64','arm64') FROM n", 1000),
		fmt.Sprintf("INSERT INTO builds "+count+"SELECT i+1, '6.12.'||i, i+1, 'x86_64', '', '', '', 'c'||i FROM n", n/2000),
		fmt.Sprintf("INSERT INTO signatures "+count+"SELECT i+1, 'sig'||i, 'memory leak in f'||i, 'object', 'f'||i, '', '', 0, 64, '[]', '' FROM n", 300),
		fmt.Sprintf("INSERT INTO runs "+count+`SELECT i+1, CAST(printf('%%032d', i) AS BLOB), i%%1000+1, i/2000+1, i/2000+1, %d + i/2000*86400000 + i%%2000,
			iif(i%%10=3,'leaks','clean'), '', '', 3.0 + i%%7/10.0, 0, 0, '' FROM n`, n, at),
		fmt.Sprintf("INSERT INTO sightings "+count+"SELECT i+1, i/10%%300+1, 'new', 1, 64 FROM n WHERE i%%10=3", n),
		`INSERT INTO tracks SELECT r.cell, s.signature, min(r.id), min(r.at), max(r.id), max(r.at), count(*)
			FROM sightings s JOIN runs r ON r.id = s.run GROUP BY 1, 2`,
		"INSERT INTO phases VALUES (1, 'boot'), (2, 'total')",
		fmt.Sprintf("INSERT INTO timings "+count+"SELECT i+1, 1, 1.0 FROM n", n),
		"PRAGMA wal_checkpoint(TRUNCATE)",
	} {
		_, err := h.db.Exec(q)
		require.NoError(tb, err, q)
	}
	return h
}

// BenchmarkHistory fills KMEMGATE_HISTORY_ROWS runs (default 100,000) and
// times what a night does: one report of 1000 runs in, then the questions.
func BenchmarkHistory(b *testing.B) {
	rows := 100_000
	if n, err := strconv.Atoi(os.Getenv("KMEMGATE_HISTORY_ROWS")); err == nil {
		rows = n
	}
	h := fill(b, rows)
	label := fmt.Sprintf("n%d", rows/2000-1)
	at := first.Add(time.Duration(rows/2000-1)*24*time.Hour + time.Hour)
	i := 0
	b.Run("add1000", func(b *testing.B) {
		for b.Loop() {
			r := reports.Report{Schema: reports.Schema}
			for cell := range 1000 {
				i++
				r.Runs = append(r.Runs, reports.Run{Kernel: "6.0.1", Arch: "x86_64", Scenario: fmt.Sprintf("s%d", cell/4), Verdict: reports.Clean,
					Detail: strconv.Itoa(i), Timings: map[string]float64{"boot": 1, "total": 3}})
			}
			_, err := h.Add(b.Context(), r, Intake{Night: label, Now: at})
			require.NoError(b, err)
		}
	})
	for name, ask := range map[string]func(context.Context) error{
		"leaks":  func(ctx context.Context) error { _, err := h.Leaks(ctx, Query{}); return err },
		"new":    func(ctx context.Context) error { _, err := h.New(ctx, "", Query{}); return err },
		"slower": func(ctx context.Context) error { _, err := h.Slower(ctx, "", Query{}); return err },
		"heat":   func(ctx context.Context) error { _, err := h.Heat(ctx, Query{}); return err },
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				require.NoError(b, ask(b.Context()))
			}
		})
	}
}

// grows are the tables that grow with every run; reading one from end to end
// is what makes a history slow.
var grows = regexp.MustCompile(`SCAN (runs|sightings|timings|tracks|r|s|t|g)\b`)

// TestQuestionsUseIndexes asks SQLite how it means to answer every query that
// a night makes, and wants no walk through a table that grows.
func TestQuestionsUseIndexes(t *testing.T) {
	h := fill(t, 4000)
	asked := map[string]bool{}
	for _, q := range everyQuery(t) {
		asked[q] = true
		plan, err := list(t.Context(), h.db, func(rows *sql.Rows) (step string, err error) {
			var id, parent, unused int
			return step, rows.Scan(&id, &parent, &unused, &step)
		}, "EXPLAIN QUERY PLAN "+q, make([]any, placeholders(q))...)
		require.NoError(t, err, q)
		for _, step := range plan {
			require.False(t, grows.MatchString(step), "%s\n%s", q, step)
		}
	}
	require.Greater(t, len(asked), 15)
}

var literal = regexp.MustCompile("(?s)[\"`]((?:SELECT|INSERT INTO tracks|UPDATE)\\b[^\"`]*)[\"`]")

// everyQuery reads the statements from this package's own sources, so that one
// that is added tomorrow is asked too.
func everyQuery(t *testing.T) (queries []string) {
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		if file == "migrate.go" || regexp.MustCompile(`_test\.go$`).MatchString(file) {
			continue
		}
		for _, m := range literal.FindAllSubmatch(text, -1) {
			q := string(m[1])
			if q == selectTracks {
				queries = append(queries, q+"t.last_at >= ?", q+"t.signature = ?")
				continue
			}
			queries = append(queries, q)
		}
	}
	return queries
}

var placeholder = regexp.MustCompile(`\?\d*`)

func placeholders(q string) int {
	seen := map[string]bool{}
	for i, p := range placeholder.FindAllString(q, -1) {
		if p == "?" {
			p = strconv.Itoa(i) + "?"
		}
		seen[p] = true
	}
	return len(seen)
}
