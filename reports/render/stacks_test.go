package render

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/pprof/profile"
	"github.com/stretchr/testify/require"
)

// leakedBytes of the sample: on x86_64 192 + 4096 + 8 new, 96 known, 2 × 512
// suppressed; on arm64 192 new. Transient and noise do not count.
const leakedBytes = 192 + 4096 + 8 + 96 + 1024 + 192

// leakedObjects: 3 + 3 + 1 new, 1 known, 2 suppressed; 3 on arm64.
const leakedObjects = 3 + 3 + 1 + 1 + 2 + 3

func TestFoldedSumsUp(t *testing.T) {
	require.Equal(t, leakedBytes, foldedSum(t, "folded"))
	require.Equal(t, leakedObjects, foldedSum(t, "folded-objects"))
}

func foldedSum(t *testing.T, format string) (sum int) {
	t.Helper()
	for line := range strings.Lines(string(rendered(t, format))) {
		stack, n, ok := strings.Cut(strings.TrimSpace(line), " "+line[strings.LastIndexByte(line, ' ')+1:len(line)-1])
		require.True(t, ok && n == "", line)
		require.NotContains(t, stack, ";;")
		bytes, err := strconv.Atoi(line[strings.LastIndexByte(line, ' ')+1 : len(line)-1])
		require.NoError(t, err)
		sum += bytes
	}
	return sum
}

func TestPprof(t *testing.T) {
	p, err := profile.ParseData(rendered(t, "pprof"))
	require.NoError(t, err)
	require.NoError(t, p.CheckValid())
	sum := int64(0)
	for _, s := range p.Sample {
		sum += s.Value[1]
	}
	require.EqualValues(t, leakedBytes, sum)
	inlined := p.Sample[0].Location[1]
	require.Len(t, inlined.Line, 2, "leak_in_probe is inlined into leaky_probe: one address")
	require.Equal(t, "leak_in_probe [leaky]", inlined.Line[0].Function.Name)
	require.EqualValues(t, 42, inlined.Line[0].Line)
}

// TestGoToolPprof has the tool itself open the file.
func TestGoToolPprof(t *testing.T) {
	file := filepath.Join(t.TempDir(), "leaks.pb.gz")
	require.NoError(t, os.WriteFile(file, rendered(t, "pprof"), 0o644))
	cmd := exec.Command("go", "tool", "pprof", "-top", "-cum", "-unit=bytes", "-tagfocus=arch=x86_64", file)
	cmd.Env = append(os.Environ(), "PPROF_TMPDIR="+t.TempDir())
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.Regexp(t, `5416B\s+100%.*total|of 5608B total`, string(out))
	require.Regexp(t, `4096B .*leaky_setup_ring \[leaky\]`, string(out))
	require.Regexp(t, `192B .*leak_in_probe \[leaky\] \(inline\)`, string(out))
}

func TestPprofOfNothing(t *testing.T) {
	var buf bytes.Buffer
	require.NoError(t, Write(&buf, crowd(0), Options{Format: "pprof"}))
	_, err := profile.ParseData(buf.Bytes())
	require.NoError(t, err)
}
