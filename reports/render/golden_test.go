package render

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite testdata/*.golden")

// sampleOptions are those of a run in CI in a subfolder of the repository.
var sampleOptions = Options{SourceDir: "drivers/leaky", OutDir: "out", FullReport: "https://example.org/run/1"}

// rendered is the sample in a format.
func rendered(t *testing.T, format string) []byte {
	t.Helper()
	opt := sampleOptions
	opt.Format = format
	var buf bytes.Buffer
	require.NoError(t, Write(&buf, sample(), opt))
	return buf.Bytes()
}

func TestGolden(t *testing.T) {
	for _, format := range []string{"text", "github", "markdown", "junit", "ktap", "folded", "mail"} {
		t.Run(format, func(t *testing.T) {
			file := filepath.Join("testdata", "sample."+format+".golden")
			got := rendered(t, format)
			if *update {
				require.NoError(t, os.WriteFile(file, got, 0o644))
			}
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, string(want), string(got), "go test -update, then read the difference")
		})
	}
}
