package cli

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/creack/pty"
	"github.com/stretchr/testify/require"
)

// TestDeskInALog has lines only, each whole and with its guest's name.
func TestDeskInALog(t *testing.T) {
	var log bytes.Buffer
	d := newDesk(&log)
	one, two := d.console("6.12 x86_64 one"), d.console("6.12 x86_64 two")
	for _, w := range []io.Writer{one, two} {
		_, err := io.WriteString(w, "[ 1.0] hel")
		require.NoError(t, err)
	}
	d.progress("modules judged", 1, 62)
	d.say("a group is done")
	for _, w := range []io.Writer{two, one} {
		_, err := io.WriteString(w, "lo\n")
		require.NoError(t, err)
	}
	d.progress("modules judged", 62, 62)
	require.Regexp(t, `^ +0\.\ds  a group is done\n6\.12 x86_64 two \| \[ 1\.0\] hello\n6\.12 x86_64 one \| \[ 1\.0\] hello\n$`, log.String())
}

// TestDeskAtATerminal has a bar below the lines, and none when the work is over.
func TestDeskAtATerminal(t *testing.T) {
	ours, theirs, err := pty.Open()
	require.NoError(t, err)
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "1")
	d := newDesk(theirs)
	d.progress("modules judged", 1, 62)
	d.progress("modules judged", 31, 62)
	d.say("a group is done")
	d.progress("modules judged", 62, 62)
	d.say("over")
	require.NoError(t, theirs.Close())
	text := string(readTerminal(ours))
	require.Contains(t, text, "modules judged")
	require.Contains(t, text, "(31/62")
	lines := strings.Split(strings.TrimSuffix(text, "\r\n"), "\r\n")
	require.Len(t, lines, 2, text)
	for i, want := range []string{"a group is done", "over"} {
		shown := lines[i][strings.LastIndex(lines[i], "\r")+1:]
		require.Regexp(t, `^(\x1b\[2?K)? +0\.\ds  `+want+`$`, shown, "nothing of a bar stays in the line")
	}
}

// readTerminal reads until its other end is closed, which Linux reports as EIO.
func readTerminal(f *os.File) []byte {
	text, _ := io.ReadAll(f)
	return text
}
