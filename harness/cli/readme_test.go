package cli

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kmemgate/kmemgate/kernels"
)

// What README shows is what happens: its first block is a session, and every
// command in it is run here.
func TestREADMETranscript(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a VM")
	}
	skipWithoutKernel(t, "6.12")
	if hostArch() != "x86_64" {
		t.Skip("README's session is of x86_64")
	}
	text, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	session := transcript(string(text))
	require.Len(t, session, 4)
	printed := typeIn(t, session)
	for i, c := range session {
		// README tells in words what follows of a red run.
		require.True(t, strings.HasPrefix(comparable(printed[i])+"\n", comparable(c.output)+"\n"),
			"$ %s\nREADME says:\n%s\nit printed:\n%s", c.line, c.output, printed[i])
	}
}

// From nothing to the first red verdict with README's one command, in an empty
// folder: only that the clone is of this repository, where no network is needed.
func TestREADMEInstall(t *testing.T) {
	needVM(t)
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	all := fences(t, "../../README.md")
	i := slices.IndexFunc(all, func(f fence) bool { return strings.Contains(f.text, "git clone ") })
	require.GreaterOrEqual(t, i, 0)
	require.Contains(t, all[i].text, "https://github.com/kmemgate/kmemgate ")
	printed, err := inShell(t, t.TempDir(), strings.Replace(all[i].text, "https://github.com/kmemgate/kmemgate ", "'"+root+"' kmemgate ", 1))
	require.NoError(t, err, printed)
	red := strings.Index(printed, "LEAKS  1 new leak")
	require.GreaterOrEqual(t, red, 0, printed)
	require.Contains(t, printed[red:], "CLEAN  nothing new in 1 run")
}

type typed struct{ line, output string }

// transcript reads "$ command" and what it printed, from the first fenced block.
func transcript(markdown string) (all []typed) {
	_, block, _ := strings.Cut(markdown, "\n```\n")
	block, _, _ = strings.Cut(block, "\n```\n")
	for _, part := range strings.Split("\n"+block, "\n$ ")[1:] {
		line, output, _ := strings.Cut(part, "\n")
		all = append(all, typed{line, strings.TrimRight(output, "\n")})
	}
	return all
}

var (
	release = regexp.MustCompile(`\b6\.12\.\d+\b`)
	offset  = regexp.MustCompile(`\+0x[0-9a-f]+`)
	header  = regexp.MustCompile(`(include/\S+):\d+`)
	blanks  = regexp.MustCompile(` +`)
)

// comparable leaves out what the next point release of the kernel changes:
// its number, offsets, lines of its headers, and the columns they widen.
func comparable(s string) string {
	s = release.ReplaceAllString(s, "6.12.N")
	s = offset.ReplaceAllString(s, "+0xN")
	s = header.ReplaceAllString(s, "$1:N")
	return blanks.ReplaceAllString(s, " ")
}

// typeIn types the lines into one shell, at the repository's root, and returns
// what each printed on stdout.
func typeIn(t *testing.T, session []typed) []string {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	bin := t.TempDir()
	require.NoError(t, os.Symlink(self, filepath.Join(bin, "kmemgate"))) // see TestMain
	var script strings.Builder
	for _, c := range session {
		// A mark after each, which leaves $? to the next.
		script.WriteString(c.line + "\nstatus=$?; printf '\\036'; (exit $status)\n")
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script.String())
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "NO_COLOR=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	printed := strings.Split(string(out), "\036")
	require.Len(t, printed, len(session)+1, "%s", out)
	return printed
}

// skipWithoutKernel skips where a run would first build its kernel, or could
// not boot it; in CI both are there.
func skipWithoutKernel(t *testing.T, name string) {
	t.Helper()
	skip := t.Skipf
	if os.Getenv("CI") == "true" {
		skip = t.Fatalf
	}
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		skip("no QEMU: %v", err)
	}
	builder := new(kernels.Builder)
	defer builder.Close()
	if _, err := builder.Path(t.Context(), kernels.Spec{Source: name, Arch: hostArch()}); err != nil {
		skip("%v", err)
	}
}
