package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/joshdk/go-junit"
	"github.com/stretchr/testify/require"
)

const examples = "../../docs/examples"

// The Makefile of an out-of-tree driver: new leaks end make, and what was
// accepted does not.
func TestExampleMakefile(t *testing.T) {
	needVM(t)
	dir := t.TempDir()
	copyFile(t, filepath.Join(examples, "Makefile"), filepath.Join(dir, "Makefile"))
	copyFile(t, "../../scenarios/leak-on-exit/note.c", filepath.Join(dir, "foo.c"))
	printed, err := inShell(t, dir, "make leaks")
	require.Error(t, err)
	require.Contains(t, printed, "memory leak in note_create  foo.c:53")
	require.Regexp(t, `make(\[\d+\])?: \*\*\* \[Makefile:\d+: leaks\] Error 1\n`, printed)
	printed, err = inShell(t, dir, "make leaks-accept && make leaks")
	require.NoError(t, err, printed)
	require.FileExists(t, filepath.Join(dir, "kmemgate-baseline.json"))
}

// gitlabJob is what a job of the example may have: GitLab knows no other keys
// of these names.
type gitlabJob struct {
	Image     string
	Variables map[string]string
	Cache     struct {
		Key   string
		Paths []string
	}
	BeforeScript []string `yaml:"before_script"`
	Script       []string
	Artifacts    struct {
		When    string
		Paths   []string
		Reports map[string]string
	}
}

func gitlabExample(t *testing.T) gitlabJob {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(examples, "gitlab-ci.yml"))
	require.NoError(t, err)
	var file struct{ Leaks gitlabJob }
	require.NoError(t, yaml.UnmarshalWithOptions(text, &file, yaml.Strict()))
	return file.Leaks
}

// The packages are those of `make deps`, but for the other architecture's and a
// compiler's cache, and each kmemgate in the script is one that it takes.
func TestExampleGitlab(t *testing.T) {
	job := gitlabExample(t)
	var installed []string
	for _, line := range job.BeforeScript {
		if _, packages, found := strings.Cut(line, "--no-install-recommends "); found {
			installed = strings.Fields(packages)
		}
	}
	out, err := exec.Command("make", "-s", "-C", "../..", "print-packages").Output()
	require.NoError(t, err)
	var wanted []string
	for _, p := range strings.Fields(string(out)) {
		if p != "ccache" && p != "qemu-system-arm" && !strings.Contains(p, "aarch64") && !strings.Contains(p, "arm64") {
			wanted = append(wanted, p)
		}
	}
	require.Equal(t, wanted, installed)
	calls := kmemgateCalls(t, "gitlab-ci.yml", strings.Join(job.Script, "\n"))
	require.Len(t, calls, 3)
	for _, words := range calls {
		words = slices.DeleteFunc(words, func(w string) bool { return w == "X" }) // $against, which may be nothing
		require.NoError(t, takes(words), "%v", words)
	}
	require.Equal(t, "always", job.Artifacts.When, "a red job's report is what it is for")
}

// The script as GitLab's runner types it: one shell, ended by the first error. A
// merge request fails by what it adds, and passes with what its target has.
func TestExampleGitlabScript(t *testing.T) {
	needVM(t)
	job := gitlabExample(t)
	script := "set -eo pipefail\n" + strings.Join(job.Script, "\n")
	dir := sampleRepository(t)
	printed, err := inShell(t, dir, script)
	require.Equal(t, "1", exitText(err), printed)
	suites, err := junit.IngestFile(filepath.Join(dir, job.Artifacts.Reports["junit"]))
	require.NoError(t, err)
	require.Len(t, suites, 1)
	require.Equal(t, 1, suites[0].Totals.Failed)
	for _, path := range job.Artifacts.Paths {
		_, err := os.Stat(filepath.Join(dir, path))
		require.NoError(t, err)
	}
	printed, err = inShell(t, dir, "git update-ref refs/remotes/origin/main HEAD\nCI_MERGE_REQUEST_TARGET_BRANCH_NAME=main\n"+script)
	require.NoError(t, err, printed)
}

// needVM is for tests that run guests on the default kernel.
func needVM(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("boots a VM")
	}
	skipWithoutKernel(t, "6.12")
	if hostArch() != "x86_64" {
		t.Skip("the examples are for x86_64")
	}
}

// inShell types a script into bash, with kmemgate in PATH.
func inShell(t *testing.T, dir, script string) (string, error) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	bin := t.TempDir()
	require.NoError(t, os.Symlink(self, filepath.Join(bin, "kmemgate"))) // see TestMain
	cmd := exec.CommandContext(t.Context(), "bash", "-c", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "NO_COLOR=1")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to, text, 0o644))
}
