package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// asChild has the test's program be a child.
const asChild = "KMEMGATE_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(asChild) != "" {
		os.Exit(child())
	}
	os.Exit(m.Run())
}

// TestChild asks a child over its pipe, as spawn does, for what needs no kernel of
// ours.
func TestChild(t *testing.T) {
	for _, c := range []struct {
		name, asked string
		status      int
		says        string
	}{
		{"dismissed", "", childOK, ""},
		{"cut short", `{"verb":"load`, childBroken, ""},
		{"unknown verb", `{"verb":"dance"}`, childBroken, ""},
		{"no such file", `{"verb":"load","module":{"name":"foo","file":"/nowhere/foo.ko"}}`, childRefused, "load-failed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			said, port, err := os.Pipe()
			require.NoError(t, err)
			defer said.Close()
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), asChild+"=1")
			cmd.Stdin = strings.NewReader(c.asked)
			cmd.ExtraFiles = []*os.File{port}
			err = cmd.Run()
			port.Close()
			text := make([]byte, 64<<10)
			n, _ := said.Read(text)
			assert.Equal(t, c.status, cmd.ProcessState.ExitCode(), "%v", err)
			if c.says == "" {
				assert.Zero(t, n)
			}
			assert.Contains(t, string(text[:n]), c.says)
		})
	}
}

// TestAskTheDead: a child that is gone is told from one that was asked.
func TestAskTheDead(t *testing.T) {
	var pipe [2]int
	require.NoError(t, unix.Pipe2(pipe[:], unix.O_CLOEXEC))
	unix.Close(pipe[0])
	require.ErrorIs(t, childProcess{asks: pipe[1]}.ask([]byte("{}")), unix.EPIPE)
}
