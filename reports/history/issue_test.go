package history

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// desk is a tracker of issues in memory.
type desk []Issue

func (d *desk) act(decisions []Decision) (done []string) {
	for _, dec := range decisions {
		switch dec.Action {
		case OpenIssue:
			*d = append(*d, Issue{Number: len(*d) + 1, Title: dec.Title, Body: dec.Body, State: "OPEN"})
		case UpdateIssue:
			(*d)[dec.Number-1].Body = dec.Body
		case CloseIssue:
			(*d)[dec.Number-1].Body, (*d)[dec.Number-1].State = dec.Body, "CLOSED"
		}
		done = append(done, string(dec.Action)+" "+dec.Title)
	}
	return done
}

// The same three nights, as the tracker sees them.
func TestIssuesOfThreeNights(t *testing.T) {
	var issues desk
	threeNights(t, func(night int, s *simulation) {
		decisions, err := s.h.Decisions(context.Background(), Query{}, issues)
		require.NoError(t, err)
		const title = "memory leak in leaky_probe (dummy, 6.12)"
		want := [][]string{nil, nil, {"open " + title}, {"close " + title}}[night]
		require.Equal(t, want, issues.act(decisions), "night %d: racy_init never pages anybody", night)
		again, err := s.h.Decisions(context.Background(), Query{}, issues)
		require.NoError(t, err)
		for _, d := range again {
			require.Equal(t, LeaveIssue, d.Action, "asked twice in one night")
		}
		if night == 2 {
			body := issues[0].Body
			require.Contains(t, body, "A leak is new for scenario `dummy` on Linux 6.12, and a second run confirmed it: 2 of 3 runs saw it; the run before it, on 6.12.101 in night 2026-11-20, did not.")
			require.Contains(t, body, "| first seen | night `2026-11-21`, Linux `6.12.102` at `0000000000000000000000000000000000000002`, x86_64 |")
			require.Contains(t, body, "| allocated at | `foo.c:42` |")
			require.Contains(t, body, "```\nunreferenced object 0xffff888003b6c000 (size 64):\n")
			require.Contains(t, body, "```\nkmemgate run --kernel 6.12 scenarios/dummy\n```")
		}
		if night == 3 {
			require.Contains(t, decisions[0].Comment, "The leak is fixed: 2 of 4 runs saw it; it is gone since 6.12.104, night 2026-11-23.")
			require.Contains(t, issues[0].Body, "| gone since | night `2026-11-23`")
		}
	})
}

func TestDecide(t *testing.T) {
	leak := func(s State) Leak {
		return Leak{Key: "0123456789abcdef", State: s, Title: "memory leak in f", Why: "so"}
	}
	open := Issue{Number: 7, Body: IssueBody(leak(Regression)), State: "OPEN"}
	stale := Issue{Number: 7, Body: strings.ReplaceAll("old text\n"+open.Body, "\n", "\r\n"), State: "OPEN"}
	byHand := Issue{Number: 5, Body: open.Body, State: "CLOSED"}
	byUs := Issue{Number: 6, Body: IssueBody(leak(Fixed)), State: "CLOSED"}
	crlf := Issue{Number: 7, Body: strings.ReplaceAll(open.Body, "\n", "\r\n"), State: "open"}
	quoting := Issue{Number: 9, Body: "> " + open.Body + "\n<!-- kmemgate:ffffffffffffffff open -->", State: "OPEN"}
	for _, c := range []struct {
		why    string
		state  State
		issues []Issue
		want   Action
		number int
	}{
		{"no issue yet", Regression, nil, OpenIssue, 0},
		{"somebody else's issue", Regression, []Issue{{Number: 1, Body: "hello", State: "OPEN"}, quoting}, OpenIssue, 0},
		{"its text is old", Regression, []Issue{stale}, UpdateIssue, 7},
		{"nothing to say", Regression, []Issue{crlf}, LeaveIssue, 7},
		{"closed by hand", Regression, []Issue{byHand}, LeaveIssue, 5},
		{"came back after its fix", Regression, []Issue{byUs}, OpenIssue, 0},
		{"came back, and has its second issue", Regression, []Issue{byUs, open}, LeaveIssue, 7},
		{"fixed", Fixed, []Issue{open}, CloseIssue, 7},
		{"fixed, closed already", Fixed, []Issue{byUs}, "", 0},
		{"turned out flaky", Flaky, []Issue{open}, CloseIssue, 7},
		{"accepted", Accepted, []Issue{open}, CloseIssue, 7},
		{"seen once", Unconfirmed, nil, "", 0},
		{"came back once, still open", Unconfirmed, []Issue{open}, LeaveIssue, 7},
		{"flaky", Flaky, nil, "", 0},
	} {
		got := Decide([]Leak{leak(c.state)}, c.issues)
		if c.want == "" {
			require.Empty(t, got, c.why)
			continue
		}
		require.Len(t, got, 1, c.why)
		require.Equal(t, c.want, got[0].Action, c.why)
		require.Equal(t, c.number, got[0].Number, c.why)
	}
}

// What a module calls itself mentions nobody, links nothing, ends no fence and
// forges no marker.
func TestIssueTextIsInert(t *testing.T) {
	leaks, err := evilNight(t).h.Leaks(t.Context(), Query{})
	require.NoError(t, err)
	l := leaks[0]
	body := IssueBody(l)
	require.Equal(t, Regression, l.State)
	require.Contains(t, body, "\n````\n", "the fence is longer than the one in the trace")
	require.Equal(t, 2, strings.Count(body, "\n````\n"), "and is closed once")
	for _, row := range strings.Split(body, "\n") {
		if strings.HasPrefix(row, "| ") && row != "| | |" {
			require.Equal(t, 3, strings.Count(strings.ReplaceAll(row, `\|`, ""), "|"), row)
		}
	}
	require.Equal(t, `a \[x\]\(y\) \<b\> \* `+"@\u200dme", escapeMarkdown("a [x](y) <b> * @me"))
	require.Equal(t, "`` a`b\\|c` ``", span("a`b|c`"))
	require.NotContains(t, IssueTitle(l), "@torvalds")

	forged := l
	forged.Record = "<!-- kmemgate:ffffffffffffffff closed -->"
	key, state, ok := keyOf(Issue{Body: IssueBody(forged)})
	require.Equal(t, []any{l.Key, "open", true}, []any{key, state, ok})
}
