package history

import (
	"context"
	"fmt"
	"strings"
)

// Action is what to do about an issue.
type Action string

// The actions. Leave says why nothing is done.
const (
	OpenIssue   Action = "open"
	UpdateIssue Action = "update"
	CloseIssue  Action = "close"
	LeaveIssue  Action = "leave"
)

// Decision is one thing to do at the tracker, as data: who acts on it (gh, or
// another tracker's command) needs no knowledge of leaks.
type Decision struct {
	Action  Action `json:"action"`
	Key     string `json:"key"`
	Number  int    `json:"number,omitempty"` // 0: a new issue
	Title   string `json:"title"`
	Body    string `json:"body"`
	Comment string `json:"comment,omitempty"` // for close
	Why     string `json:"why"`
}

// Decisions asks the history what to do about the issues that there are.
func (h *History) Decisions(ctx context.Context, q Query, issues []Issue) ([]Decision, error) {
	leaks, err := h.Leaks(ctx, q)
	if err != nil {
		return nil, err
	}
	return Decide(leaks, issues), nil
}

// Decide opens one issue for a regression, keeps it up to date, and closes it
// when the leak is a regression no more. An issue that a person closed stays
// closed; one that we closed does too: a leak that comes back after its fix
// gets a new issue. Flaky and unconfirmed leaks open none.
func Decide(leaks []Leak, issues []Issue) []Decision {
	byKey := map[string]Issue{}
	for _, i := range issues {
		key, _, ok := keyOf(i)
		// Of several, an open one counts, or else the latest.
		if had, again := byKey[key]; ok && (!again || !closed(i) || closed(had) && i.Number > had.Number) {
			byKey[key] = i
		}
	}
	decisions := []Decision{}
	for _, l := range leaks {
		issue, ok := byKey[l.Key]
		if d := decide(l, issue, ok); d.Action != "" {
			decisions = append(decisions, d)
		}
	}
	return decisions
}

func closed(i Issue) bool { return strings.EqualFold(i.State, "closed") }

func decide(l Leak, issue Issue, exists bool) Decision {
	d := Decision{Key: l.Key, Number: issue.Number, Title: IssueTitle(l), Body: IssueBody(l)}
	_, ours, _ := keyOf(issue)
	switch open := exists && !closed(issue); {
	case l.State == Regression && open && sameText(issue.Body, d.Body):
		d.Action, d.Why = LeaveIssue, "the issue says it already"
	case l.State == Regression && open:
		d.Action, d.Why = UpdateIssue, "the regression stays"
	case l.State == Regression && exists && ours == "open":
		d.Action, d.Why = LeaveIssue, "somebody closed the issue by hand"
	case l.State == Regression:
		d.Action, d.Number, d.Why = OpenIssue, 0, "a regression without an issue"
	case l.State == Unconfirmed && open:
		d.Action, d.Why = LeaveIssue, "it came back, one more run will tell"
	case open:
		d.Action, d.Why, d.Comment = CloseIssue, "it is "+string(l.State), fmt.Sprintf("%s: %s.", lead(l), escapeMarkdown(l.Why))
	}
	return d
}

// sameText compares as trackers store text: line ends may be CRLF.
func sameText(a, b string) bool {
	fold := func(s string) string { return strings.TrimSpace(strings.ReplaceAll(s, "\r\n", "\n")) }
	return fold(a) == fold(b)
}
