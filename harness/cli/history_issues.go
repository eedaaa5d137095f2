package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kmemgate/kmemgate/harness"
	"github.com/kmemgate/kmemgate/kernels"
	"github.com/kmemgate/kmemgate/reports/history"
)

func newHistoryIssues(f *historyFlags) *cobra.Command {
	var gh tracker
	var existing string
	var dryRun bool
	c := &cobra.Command{
		Use:   "issues",
		Short: "One issue per regression: open, keep up to date, close when fixed",
		Long: `Issues says what is to be done about the issues of a tracker, and with --gh does
it. A regression gets one issue; the issue is kept up to date, and closed when
the leak is fixed, accepted or flaky. One that somebody closed by hand stays
closed. Unconfirmed and flaky leaks open none.`,
		Example: `  kmemgate history issues --format json            # decisions only, as if there were no issues
  kmemgate history issues --gh gh --label kmemgate # needs: gh label create kmemgate
  kmemgate history issues --gh gh --repo me/driver --dry-run`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return f.ask(c, func(h *history.History) error {
				issues, err := gh.issues(c.Context(), existing)
				if err != nil {
					return err
				}
				decisions, err := h.Decisions(c.Context(), f.query, issues)
				if err != nil {
					return err
				}
				if gh.program != "" && !dryRun {
					err = gh.act(c.Context(), decisions)
				}
				if err != nil {
					return err
				}
				return f.print(c, decisions, func() error { return printDecisions(c, decisions) })
			})
		},
	}
	fl := c.Flags()
	fl.StringVar(&gh.program, "gh", "", "GitHub's command line client; without it nothing is done")
	fl.StringVar(&gh.repo, "repo", "", "OWNER/NAME (default: gh's own idea)")
	fl.StringVar(&gh.label, "label", "kmemgate", "label of the issues")
	fl.StringVar(&existing, "existing", "", "JSON file with the issues that there are, where there is no gh")
	fl.BoolVar(&dryRun, "dry-run", false, "list issues through gh, change none")
	return c
}

func printDecisions(c *cobra.Command, decisions []history.Decision) error {
	if len(decisions) == 0 {
		fmt.Fprintln(c.ErrOrStderr(), "no issue to open, update or close")
	}
	for _, d := range decisions {
		number := "new"
		if d.Number != 0 {
			number = "#" + strconv.Itoa(d.Number)
		}
		if _, err := fmt.Fprintf(c.OutOrStdout(), "%-6s %-6s %s: %s\n", d.Action, number, d.Title, d.Why); err != nil {
			return err
		}
	}
	return nil
}

// tracker is GitHub through gh, which has the credentials and the repository.
type tracker struct{ program, repo, label string }

// maxIssues is how many issues of the label gh is asked for, open or closed.
const maxIssues = 1000

func (t tracker) issues(ctx context.Context, file string) ([]history.Issue, error) {
	var text string
	switch {
	case t.program != "" && file != "":
		return nil, harness.Usagef("--gh and --existing: give one of them")
	case t.program != "":
		var err error
		text, err = t.gh(ctx, "", "issue", "list", "--label", t.label, "--state", "all", "--limit", strconv.Itoa(maxIssues), "--json", "number,title,body,state")
		if err != nil {
			return nil, err
		}
	case file != "":
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, harness.Usagef("--existing: %w", err)
		}
		text = string(b)
	default:
		return nil, nil
	}
	var issues []history.Issue
	if err := json.Unmarshal([]byte(text), &issues); err != nil {
		return nil, fmt.Errorf("list of issues: %w", err)
	}
	return issues, nil
}

// act does what was decided. It stops at the first error; what was done by
// then is found done by the next run.
func (t tracker) act(ctx context.Context, decisions []history.Decision) error {
	for _, d := range decisions {
		if err := t.do(ctx, d); err != nil {
			return fmt.Errorf("%s issue %q: %w", d.Action, d.Title, err)
		}
	}
	return nil
}

func (t tracker) do(ctx context.Context, d history.Decision) (err error) {
	number := strconv.Itoa(d.Number)
	switch d.Action {
	case history.OpenIssue:
		_, err = t.gh(ctx, d.Body, "issue", "create", "--title", d.Title, "--body-file", "-", "--label", t.label)
		if err != nil && strings.Contains(err.Error(), "label") {
			err = fmt.Errorf("%w (gh label create %s makes the label)", err, t.label)
		}
	case history.UpdateIssue:
		// The body only: the title may be what somebody made of it.
		_, err = t.gh(ctx, d.Body, "issue", "edit", number, "--body-file", "-")
	case history.CloseIssue:
		// First the text, which says that it was us who closed it.
		if _, err = t.gh(ctx, d.Body, "issue", "edit", number, "--body-file", "-"); err == nil {
			_, err = t.gh(ctx, "", "issue", "close", number, "--comment", d.Comment)
		}
	}
	return err
}

func (t tracker) gh(ctx context.Context, stdin string, args ...string) (string, error) {
	if t.repo != "" {
		args = append(args, "--repo", t.repo)
	}
	cmd := kernels.Command{Args: append([]string{t.program}, args...), Stdin: strings.NewReader(stdin)}
	return cmd.Output(ctx)
}
