package harness

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"

	"github.com/kmemgate/kmemgate/kernels"
	"github.com/kmemgate/kmemgate/scenarios"
)

// GitHistory is the history of a git tree between two commits, the driver's own
// or the kernel's. git bisect chooses, in a clone beside the evidence: the
// user's tree, its index and its refs are never touched.
type GitHistory struct {
	scenario  *scenarios.Scenario
	kernel    bool   // the tree is the kernel's
	top       string // of the user's work tree
	clone     string // shares the objects of the user's repository
	prefix    string // the driver's directory in it
	good, bad string
}

// scratchName is the clone's folder in that of the evidence. Its path is the
// same every time, so that what was built from it once is found in the cache.
const scratchName = ".kmemgate-bisect"

// NewDriverHistory searches the history of the scenario's own directory with
// the kernel that the scenario names. The test is today's: kmemgate.yml and the
// files that it names, whatever the commit has.
func NewDriverHistory(ctx context.Context, s *scenarios.Scenario, good, bad, out string) (*GitHistory, error) {
	prefix, err := git(ctx, s.Dir, "rev-parse", "--show-prefix")
	if err != nil {
		return nil, Usagef("bisect: %s is in no git repository", s.Dir)
	}
	return newHistory(ctx, &GitHistory{scenario: s, prefix: prefix}, s.Dir, good, bad, out)
}

// NewKernelHistory searches the history of a kernel tree with the driver as it is.
func NewKernelHistory(ctx context.Context, s *scenarios.Scenario, tree, good, bad, out string) (*GitHistory, error) {
	if _, err := git(ctx, tree, "rev-parse", "--git-dir"); err != nil {
		return nil, Usagef("bisect: %s is no git repository", tree)
	}
	return newHistory(ctx, &GitHistory{scenario: s, kernel: true}, tree, good, bad, out)
}

func newHistory(ctx context.Context, h *GitHistory, dir, good, bad, out string) (_ *GitHistory, err error) {
	if h.good, err = commitOf(ctx, dir, good); err != nil {
		return nil, err
	}
	if h.bad, err = commitOf(ctx, dir, bad); err != nil {
		return nil, err
	}
	if _, err := git(ctx, dir, "merge-base", "--is-ancestor", h.good, h.bad); err != nil || h.good == h.bad {
		return nil, Usagef("bisect: %s is no ancestor of %s: name a good commit that the bad one comes from", good, bad)
	}
	if h.top, err = git(ctx, dir, "rev-parse", "--show-toplevel"); err != nil {
		return nil, Usagef("bisect: %s has no work tree", dir)
	}
	if out, err = filepath.Abs(out); err != nil {
		return nil, hostError("", "bisect: %w", err)
	}
	h.clone = filepath.Join(out, scratchName)
	if err := h.Close(); err != nil { // of a bisection that was killed
		return nil, err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return nil, hostError("", "bisect: %w", err)
	}
	if _, err := git(ctx, out, "clone", "--quiet", "--shared", "--no-checkout", "--template=", h.top, h.clone); err != nil {
		return nil, hostError("", "bisect: %w", errors.Join(err, h.Close()))
	}
	return h, nil
}

func commitOf(ctx context.Context, dir, rev string) (string, error) {
	commit, err := git(ctx, dir, "rev-parse", "--verify", "--quiet", "--end-of-options", rev+"^{commit}")
	if err != nil {
		return "", Usagef("bisect: %s: no such revision in %s (git fetch it first)", rev, dir)
	}
	return commit, nil
}

// Close removes the clone.
func (h *GitHistory) Close() error {
	if err := os.RemoveAll(h.clone); err != nil {
		return hostError("", "bisect: %w", err)
	}
	return nil
}

// Ends are the two commits.
func (h *GitHistory) Ends() (good, bad string) { return h.good, h.bad }

// At checks a commit out. Files whose content did not change keep their times,
// by which make(1) builds a kernel no more than it must.
func (h *GitHistory) At(ctx context.Context, commit string) (*scenarios.Scenario, error) {
	if _, err := git(ctx, h.clone, "checkout", "--quiet", "--force", "--detach", commit); err != nil {
		return nil, hostError("", "bisect: %w", err)
	}
	if _, err := git(ctx, h.clone, "clean", "--quiet", "-ffdx"); err != nil {
		return nil, hostError("", "bisect: %w", err)
	}
	s := *h.scenario
	if h.kernel {
		s.Kernels = []string{h.clone}
		return &s, nil
	}
	s.Dir = filepath.Join(h.clone, h.prefix)
	return &s, overlay(h.scenario, s.Dir)
}

// Mark tells git of an outcome.
func (h *GitHistory) Mark(ctx context.Context, commit string, o Outcome) (string, error) {
	if commit == h.good { // the first of all
		_, err := git(ctx, h.clone, "bisect", "start", "--no-checkout")
		if err != nil {
			return "", hostError("", "%w", err)
		}
	}
	// Git exits 2 where only untestable commits are left, which its log says as well.
	_, markErr := git(ctx, h.clone, "bisect", string(o), commit)
	if commit == h.good {
		return "", markErr
	}
	suspects, err := h.Suspects(ctx)
	if err != nil || len(suspects) > 0 {
		return "", err
	}
	if markErr != nil {
		return "", hostError("", "%w", markErr)
	}
	next, err := git(ctx, h.clone, "rev-parse", "--verify", "BISECT_HEAD")
	if err != nil {
		return "", hostError("", "bisect: %w", err)
	}
	return next, nil
}

// verdictLine is how git's log of a bisection ends.
// Example: # first bad commit: [1f9c1bd…] note: keep the text apart
var verdictLine = regexp.MustCompile(`(?m)^# (?:possible )?first bad commit: \[([0-9a-f]+)\]`)

// Suspects are the commits that git's log ends with; none before the end.
func (h *GitHistory) Suspects(ctx context.Context) ([]string, error) {
	log, err := git(ctx, h.clone, "bisect", "log")
	if err != nil {
		return nil, hostError("", "%w", err)
	}
	var commits []string
	for _, m := range verdictLine.FindAllStringSubmatch(log, -1) {
		commits = append(commits, m[1])
	}
	return commits, nil
}

// Describe is the commit as git shows it, without its changes. Its text is a
// stranger's: what a terminal would obey is left out.
func (h *GitHistory) Describe(ctx context.Context, commit string) string {
	text, err := git(ctx, h.clone, "show", "--no-color", "--stat=72", "--format=%h %s%n%nAuthor: %an <%ae>%nDate:   %ad%n%n%b", commit)
	if err != nil {
		return commit
	}
	plain := strings.Map(func(r rune) rune {
		if r == '\n' || unicode.IsPrint(r) {
			return r
		}
		return -1
	}, text)
	return manyLines.ReplaceAllString(plain, "\n\n")
}

var manyLines = regexp.MustCompile(`\n{3,}`)

// Reproduce is a run's command with the user's tree for the clone.
func (h *GitHistory) Reproduce(commit, command string) string {
	return "git -C " + shellQuote(h.top) + " checkout " + commit[:12] + " && " + strings.ReplaceAll(command, h.clone, h.top)
}

// git runs git in a directory, and returns what it printed. A bisection must
// do the same on every machine: it heeds no hook and asks nobody.
func git(ctx context.Context, dir string, args ...string) (string, error) {
	c := &kernels.Command{
		Args: append([]string{"git", "-C", dir, "-c", "core.hooksPath=/dev/null", "-c", "advice.detachedHead=false"}, args...),
		Env:  []string{"GIT_TERMINAL_PROMPT=0", "GIT_PAGER=cat"},
	}
	out, err := c.Output(ctx)
	return strings.TrimSpace(out), err
}
