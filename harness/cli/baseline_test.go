package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/reports"
)

// knownLine allocates what leak-on-exit leaks; secondLeak is put before it, into
// the same function.
const (
	knownLine  = "\tn->text = kzalloc(NOTE_SIZE, GFP_KERNEL);\n"
	secondLeak = "\tif (!kzalloc(96, GFP_KERNEL))\n\t\treturn NULL;\n"
)

// TestBaselineFromRedToGreenAndBack is what docs/baseline.md promises, in a real
// guest: a leak is accepted, the gate is green, and a second leak in the very
// function of the first is red again, though its line has moved.
func TestBaselineFromRedToGreenAndBack(t *testing.T) {
	needGuest(t)
	dir := filepath.Join(t.TempDir(), "leak-on-exit")
	require.NoError(t, os.CopyFS(dir, os.DirFS("../../scenarios/leak-on-exit")))
	file := filepath.Join(dir, "kmemgate-baseline.json")

	leak := gatedLeak(t, exitLeaks, dir)
	assert.Equal(t, reports.New, leak.Status)
	assert.NoFileExists(t, file)

	gatedLeak(t, exitClean, dir, "--update-baseline")
	known, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Contains(t, string(known), strings.TrimSpace(knownLine))

	leak = gatedLeak(t, exitClean, dir)
	assert.Equal(t, reports.Known, leak.Status)

	source := filepath.Join(dir, "note.c")
	text, err := os.ReadFile(source)
	require.NoError(t, err)
	edited := strings.Replace(string(text), knownLine, secondLeak+knownLine, 1)
	require.NotEqual(t, string(text), edited)
	require.NoError(t, os.WriteFile(source, []byte(edited), 0o644))
	second := gatedLeak(t, exitLeaks, dir)
	assert.Equal(t, reports.New, second.Status)
	assert.Equal(t, leak.Signature, second.Signature, "the same function")
	assert.Equal(t, 2, second.Count)
	assert.Contains(t, second.Note, "1 of 2 objects are in the baseline, the rest is new")
	after, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(known), string(after), "nobody asked for another")
}

// gatedLeak gates the driver, wants the exit status, and returns its only leak.
func gatedLeak(t *testing.T, status int, dir string, flags ...string) reports.Leak {
	t.Helper()
	var stdout, stderr bytes.Buffer
	args := append([]string{"run", dir, "--out", t.TempDir(), "--format", "json"}, flags...)
	require.Equal(t, status, Main(args, nil, &stdout, &stderr), "stdout: %s\nstderr: %s", &stdout, &stderr)
	report, err := reports.ReadJSON(&stdout)
	require.NoError(t, err)
	require.Len(t, report.Runs, 1)
	require.Len(t, report.Runs[0].Leaks, 1)
	return report.Runs[0].Leaks[0]
}
