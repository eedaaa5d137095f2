package kernels

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCommandSaysWhatTells(t *testing.T) {
	var numbers string // as seq prints them
	for i := range 200 {
		numbers += fmt.Sprintf("/%d", i+1)
	}
	numbers = numbers[1:]
	for _, test := range []struct{ name, script, want string }{
		{"compiler", "echo CC a.o; echo 'a.c:1:1: error: no' >&2; echo 'make: *** [a.o] Error 1' >&2; exit 2", "a.c:1:1: error: no"},
		{"full disk", "echo 'x: error: y'; echo 'cc1: No space left on device'; exit 1", "cc1: No space left on device"},
		{"the reason behind long paths", "echo cp: $(seq -s / 200): No space left on device; exit 1",
			"cp: " + numbers[:146] + "…" + numbers[len(numbers)-125:] + ": No space left on device"},
		{"last line", "echo one; printf two; exit 1", "two"},
		{"silent", "exit 1", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var log bytes.Buffer
			err := (&Command{Args: []string{"sh", "-c", test.script}, Log: &log, LogFile: "x.log"}).Run(t.Context())
			var c *CommandError
			require.ErrorAs(t, err, &c)
			require.Equal(t, test.want, c.Telling)
			require.Contains(t, err.Error(), "(log: x.log)")
			require.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestCommandOutput(t *testing.T) {
	var log bytes.Buffer
	out, err := (&Command{Args: []string{"sh", "-c", "echo out; echo err >&2"}, Log: &log}).Output(t.Context())
	require.NoError(t, err)
	require.Equal(t, "out\n", out)
	require.Equal(t, "err\n", log.String())
}

// make deletes half-written targets on SIGINT: the whole group has to get it.
func TestCommandIsInterruptedWithItsChildren(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var pid string
	c := &Command{
		Args:  []string{"sh", "-c", `trap 'echo caught; kill $child; exit 0' INT; sleep 60 & child=$!; echo $child; wait`},
		Grace: 5 * time.Second,
	}
	var lines []string
	c.Line = func(line string) {
		if pid == "" {
			pid = line
			cancel()
		}
		lines = append(lines, line)
	}
	start := time.Now()
	err := c.Run(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.Less(t, time.Since(start), 5*time.Second)
	require.Contains(t, lines, "caught")
	require.Eventually(t, func() bool {
		_, err := os.Stat("/proc/" + pid + "/exe")
		return err != nil
	}, 5*time.Second, 10*time.Millisecond, "the child outlived its parent")
}

func TestCommandThatIgnoresInterruptIsKilled(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	err := (&Command{Args: []string{"sh", "-c", "trap '' INT; sleep 60"}, Grace: 200 * time.Millisecond}).Run(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Less(t, time.Since(start), 10*time.Second)
}

// failingWriter is a log on a full disk.
type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

func TestCommandWhoseLogCannotBeWritten(t *testing.T) {
	err := (&Command{Args: []string{"echo", "x"}, Log: failingWriter{}}).Run(t.Context())
	require.ErrorIs(t, err, syscall.ENOSPC)
}

func TestCommandBoundsALineWithoutEnd(t *testing.T) {
	longest := 0
	c := &Command{Args: []string{"sh", "-c", "head -c 200000 /dev/zero | tr '\\0' x"}}
	c.Line = func(line string) { longest = max(longest, len(line)) }
	require.NoError(t, c.Run(t.Context()))
	require.LessOrEqual(t, longest, maxLine)
	require.Positive(t, longest)
}

func TestCommandKeepsWhatSteersMakeOut(t *testing.T) {
	for name, value := range map[string]string{
		"MAKEFLAGS": "-j8 --jobserver-auth=3,4", "KCFLAGS": "-O0", "KBUILD_EXTMOD": "/x", "ARCH": "mips", "CROSS_COMPILE": "x-", "LLVM": "1",
		"ARCHIVE": "kept", "CCACHE_DIR": "kept too",
	} {
		t.Setenv(name, value)
	}
	out, err := (&Command{Args: []string{"env"}, Env: []string{"ADDED=1"}}).Output(t.Context())
	require.NoError(t, err)
	env := strings.Split(out, "\n")
	for _, line := range env {
		require.NotRegexp(t, `^(MAKEFLAGS|KCFLAGS|KBUILD_EXTMOD|ARCH|CROSS_COMPILE|LLVM)=`, line)
	}
	require.Subset(t, env, []string{"ARCHIVE=kept", "CCACHE_DIR=kept too", "ADDED=1", "LC_ALL=C"})
}

func TestQuote(t *testing.T) {
	words := []string{"make", "CC=ccache gcc", "it's", "", "a*b", "-j2"}
	require.Equal(t, `make 'CC=ccache gcc' 'it'\''s' '' 'a*b' -j2`, Quote(words))
	out, err := (&Command{Args: []string{"sh", "-c", "printf '%s\\n' " + Quote(words)}}).Output(t.Context())
	require.NoError(t, err)
	require.Equal(t, words, strings.Split(strings.TrimSuffix(out, "\n"), "\n"))
}
