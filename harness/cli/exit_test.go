package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/harness"
	"github.com/kmemgate/kmemgate/reports"
)

// exitText is a failed command's exit status, or what else became of it.
func exitText(err error) string {
	var status *exec.ExitError
	if errors.As(err, &status) {
		return strconv.Itoa(status.ExitCode())
	}
	return err.Error()
}

func TestExitStatus(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		want int
		said string
	}{
		{"nothing new", nil, 0, ""},
		{"leaks", asVerdict(reports.Leaks), 1, ""},
		{"no verdict is never a pass", asVerdict(reports.None), 3, ""},
		{"skipped is never a pass", asVerdict(reports.Skipped), 3, ""},
		{"a verdict nobody knows is never a pass", asVerdict("green"), 3, ""},
		{"usage", fmt.Errorf("run: %w", harness.Usagef("no such kernel")), 2, "kmemgate: run: no such kernel\n"},
		{"interrupted", fmt.Errorf("run: %w", context.Canceled), 3, "kmemgate: interrupted: no verdict\n"},
		{"anything else", errors.New("disk full"), 3, "kmemgate: disk full\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var stderr bytes.Buffer
			assert.Equal(t, tt.want, exitStatus(tt.err, &stderr))
			assert.Equal(t, tt.said, stderr.String())
		})
	}
}

func TestRepeatedFlagsAreThoseThatChangeWhatIsFound(t *testing.T) {
	c := newRun()
	require.NoError(t, c.ParseFlags([]string{"--error-paths", "--out=x", "--format=json", "--kernel=6.1", "--cycles=3", "--allow-warn"}))
	assert.Equal(t, []string{"--allow-warn=true", "--cycles=3", "--error-paths=true"}, repeated(c))
}
