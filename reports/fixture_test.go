package reports

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite the expectations of testdata/records")

// TestFixtures parses text of real guests, and, in made-*, of variants that no
// kernel at hand prints, after the formats of mm/kmemleak.c. What is expected
// stands on top of each file, a line for each record; a bug in the field becomes
// one more file.
func TestFixtures(t *testing.T) {
	files, err := filepath.Glob("testdata/records/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			b, err := os.ReadFile(file)
			require.NoError(t, err)
			want, text, ok := strings.Cut(string(b), "---\n")
			require.True(t, ok, "want an expectation, then a line ---")
			got := summary(ParseKmemleak(strings.NewReader(text), filepath.Base(file)))
			if *update {
				require.NoError(t, os.WriteFile(file, []byte(got+"---\n"+text), 0o644))
				return
			}
			assert.Equal(t, want, got)
		})
	}
}

func summary(recs []Record, err error) string {
	if err != nil {
		return err.Error() + "\n"
	}
	var b strings.Builder
	for _, r := range recs {
		fmt.Fprintf(&b, "line %d: %s 0x%x size %d comm %q pid %d jiffies %d%s dump %d cpu %d crc %x frames %d%s\n",
			r.Line, r.Kind, r.Address, r.Size, r.Comm, r.PID, r.Jiffies, ageText(r), len(r.Dump), r.DumpCPU, r.CRC, len(r.Frames), lastFrame(r))
	}
	return b.String()
}

func ageText(r Record) string {
	if r.Age == noAge {
		return ""
	}
	return " age " + r.Age.String()
}

func lastFrame(r Record) string {
	if len(r.Frames) == 0 {
		return ""
	}
	return " last " + r.Frames[len(r.Frames)-1].String()
}
