package actions

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// The scripts of the action by themselves, with the kmemgate of this source: what
// they ask of it is seen in what it refuses, so that none of this boots a guest.

// script runs one of the action's scripts as a runner does.
type script struct {
	dir       string // the job's directory
	bin       string // where kmemgate is
	env       map[string]string
	as        *syscall.Credential // nil: whoever runs the tests
	workspace string              // of the runner: outputs, summary, RUNNER_TEMP
}

// newScript has a sample repository to work in and kmemgate on its PATH.
func newScript(t *testing.T, files map[string]string) *script {
	t.Helper()
	s := &script{dir: t.TempDir(), bin: filepath.Dir(kmemgate(t)), workspace: t.TempDir(), env: map[string]string{
		"GITHUB_JOB": "leaks", "GITHUB_ACTIONS": "true", "GITHUB_REF": "refs/heads/main", "INPUT_WORKING_DIRECTORY": ".", "RUN_URL": "https://example.org/run",
	}}
	for _, name := range []string{"KERNEL", "ARCH", "CONFIG", "ERROR_PATHS", "CYCLES", "BASELINE", "FAIL_ON", "FORMAT", "ARGS", "SKIP_SAVE_CACHE"} {
		s.env["INPUT_"+name] = ""
	}
	s.env["BASE_SHA"] = ""
	for name, text := range files {
		path := filepath.Join(s.dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	return s
}

var built string // kmemgate, compiled once

func kmemgate(t *testing.T) string {
	t.Helper()
	if built == "" {
		dir, err := os.MkdirTemp("", "kmemgate-test-actions-")
		require.NoError(t, err)
		removeAtEnd = append(removeAtEnd, dir)
		run(t, "../..", "go", "build", "-o", filepath.Join(dir, "kmemgate"), ".")
		built = filepath.Join(dir, "kmemgate")
	}
	return built
}

var removeAtEnd []string

func TestMain(m *testing.M) {
	status := m.Run()
	for _, dir := range removeAtEnd {
		os.RemoveAll(dir)
	}
	os.Exit(status)
}

// result is what a script left behind.
type result struct {
	status          int
	log             string // stdout and stderr, as the runner reads them
	output, summary string
}

func (s *script) run(t *testing.T, name string) result {
	t.Helper()
	path, err := filepath.Abs("../action/" + name)
	require.NoError(t, err)
	output, summary := filepath.Join(s.workspace, "output"), filepath.Join(s.workspace, "summary")
	for _, file := range []string{output, summary} {
		require.NoError(t, os.WriteFile(file, nil, 0o666))
		require.NoError(t, os.Chmod(file, 0o666))
	}
	cmd := exec.CommandContext(t.Context(), path)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "PATH="+s.bin+":"+os.Getenv("PATH"), "RUNNER_TEMP="+s.workspace, "GITHUB_OUTPUT="+output, "GITHUB_STEP_SUMMARY="+summary)
	for k, v := range s.env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	if s.as != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.as}
	}
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	err = cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	return result{cmd.ProcessState.ExitCode(), log.String(), readFile(t, output), readFile(t, summary)}
}

// A list with a line each, as YAML's "|" makes it, is as good as one with blanks:
// what stands in the last line is refused by name.
func TestListsMayHaveLines(t *testing.T) {
	for input, c := range map[string]struct{ value, refused string }{
		"INPUT_KERNEL": {"6.12\n  x86/last-line\n", "x86/last-line"},
		"INPUT_ARCH":   {"x86_64\n\nriscv\n", "riscv"},
		"INPUT_ARGS":   {"--cycles=1\n--fail-on=last-line\n", "last-line"},
	} {
		s := newScript(t, driver(t, fixed, ""))
		s.env[input] = c.value
		got := s.run(t, "gate")
		require.Equal(t, 2, got.status, got.log)
		require.Contains(t, got.log, "::error title=kmemgate::")
		require.Contains(t, got.log, c.refused)
	}
	s := newScript(t, nil)
	s.env["KERNELS"], s.env["ARCHES"] = "6.12\n6.1\n", "x86_64\narm64\n"
	got := s.run(t, "matrix")
	require.Zero(t, got.status, got.log)
	require.Equal(t, 4, strings.Count(got.output, `"cell":`), got.output)
}

// A run that ends before it has a report says why on the page of the job.
func TestNoReportIsSaidOnThePage(t *testing.T) {
	files := driver(t, fixed, "")
	files["kmemgate.yml"] = "cycles: 3\nkernls: [\"100% <b>&amp;\"]\n"
	got := newScript(t, files).run(t, "gate")
	require.Equal(t, 2, got.status, got.log)
	require.Contains(t, got.output, "verdict=none\n")
	require.NotContains(t, got.output, "report=")
	require.Contains(t, got.summary, "kmemgate.yml:2")
	require.NotContains(t, got.summary, "<b>")
	errors := 0
	for line := range strings.Lines(got.log) {
		if strings.HasPrefix(line, "::error") {
			errors++
			require.Regexp(t, `^::error title=kmemgate::kmemgate: .*kmemgate\.yml:2`, line)
		}
	}
	require.Equal(t, 1, errors, got.log)
	require.LessOrEqual(t, strings.Count(got.log, "::group::"), 1, "groups do not nest")
	require.Equal(t, strings.Count(got.log, "::group::"), strings.Count(got.log, "::endgroup::"))
}

// The base commit is asked for where nothing else says what is known.
func TestWhatIsKnownIsNotAskedOfTheBase(t *testing.T) {
	const lost = "cannot be fetched"
	for name, c := range map[string]struct {
		yml   string
		asked bool
	}{
		"none":     {"cycles: 2\n", true},
		"baseline": {"cycles: 2\nbaseline: known.json\n", false},
		"quoted":   {"\"baseline\" : 'known.json' # of 2025\n", false},
		"empty":    {"baseline:\ncycles: 2\n", true},
		"deeper":   {"suppress:\n  - {match: x, reason: 'no\n      baseline: here'}\n", true},
	} {
		files := driver(t, fixed, "")
		files["kmemgate.yml"] = c.yml
		s := newScript(t, files)
		git(t, s.dir, "init", "--quiet")
		s.env["BASE_SHA"] = strings.Repeat("1", 40)
		s.env["INPUT_FAIL_ON"] = "sometimes" // which ends the run
		got := s.run(t, "gate")
		require.NotZero(t, got.status)
		if c.asked {
			require.Contains(t, got.log, lost, name)
			require.Contains(t, got.summary, lost, name)
		} else {
			require.NotContains(t, got.log, lost, name)
			require.Contains(t, got.log, "sometimes", name)
		}
	}
}

// Only what the default branch's own events made is restored by the others.
func TestWhoMaySaveTheCache(t *testing.T) {
	for _, c := range []struct{ event, refType, name, skip, save string }{
		{"push", "branch", "main", "", "true"},
		{"push", "branch", "topic", "", "false"},
		{"push", "tag", "main", "", "false"}, // a tag of the branch's name
		{"push", "branch", "topic", "false", "true"},
		{"push", "branch", "main", "true", "false"},
		{"schedule", "branch", "main", "", "true"},
		{"workflow_dispatch", "branch", "main", "", "true"},
		{"pull_request", "branch", "7/merge", "false", "false"},
		{"pull_request_target", "branch", "main", "", "false"},
		{"pull_request_target", "branch", "main", "false", "false"},
		{"workflow_run", "branch", "main", "", "false"},
		{"workflow_run", "branch", "main", "false", "false"},
		{"issue_comment", "branch", "main", "", "false"},
	} {
		s := newScript(t, nil)
		for k, v := range map[string]string{
			"GITHUB_EVENT_NAME": c.event, "GITHUB_REF_TYPE": c.refType, "REF_NAME": c.name, "INPUT_SKIP_SAVE_CACHE": c.skip,
			"DEFAULT_BRANCH": "main", "PARTS": "kernels", "RUNNER_ENVIRONMENT": "github-hosted",
		} {
			s.env[k] = v
		}
		got := s.run(t, "key")
		require.Zero(t, got.status, got.log)
		require.Contains(t, got.output, "save="+c.save+"\n", "%+v", c)
	}
}

// The device is opened where real time is asked for, in whatever spelling, and
// left alone elsewhere. A file stands for it that its owner may not write.
func TestWhoOpensKVM(t *testing.T) {
	for name, c := range map[string]struct {
		yml, args string
		opened    bool
	}{
		"plain":         {"clock: real\n", "", true},
		"double quotes": {"clock: \"real\" # races\n", "", true},
		"single quotes": {"cycles: 2\n'clock' :  'real'\n", "", true},
		"argument":      {"", "--clock real", true},
		"warp":          {"clock: warp\n", "", false},
		"said nothing":  {"", "", false},
		"a comment":     {"# clock: real\n", "", false},
	} {
		files := driver(t, fixed, "")
		files["kmemgate.yml"] = c.yml
		s := newScript(t, files)
		device := filepath.Join(s.workspace, "kvm")
		require.NoError(t, os.WriteFile(device, nil, 0o444))
		s.env["KVM_DEVICE"], s.env["INPUT_ARGS"], s.env["INPUT_FAIL_ON"] = device, c.args, "sometimes"
		if os.Getuid() == 0 {
			s.becomeNobody(t, device)
		}
		got := s.run(t, "gate")
		require.Equal(t, 2, got.status, got.log)
		st, err := os.Stat(device)
		require.NoError(t, err)
		require.Equal(t, c.opened, st.Mode().Perm() == 0o446, "%s: %s\n%s", name, st.Mode(), got.log)
	}
}

// becomeNobody has the script run without the rights of root, to whom every
// file is writable.
func (s *script) becomeNobody(t *testing.T, device string) {
	t.Helper()
	const nobody = 65534
	s.as = &syscall.Credential{Uid: nobody, Gid: nobody}
	for _, dir := range []string{filepath.Dir(s.dir), filepath.Dir(s.workspace), s.bin} { // their maker's alone
		require.NoError(t, os.Chmod(dir, 0o755))
	}
	for _, path := range []string{s.workspace, device} {
		require.NoError(t, os.Chown(path, nobody, nobody))
	}
}

// Calls of gate.yml that differ in any input must not cancel each other.
func TestConcurrencyGroupHasEveryInput(t *testing.T) {
	text := readFile(t, "../workflows/gate.yml")
	group := section(text, "concurrency:", "jobs:")
	inputs := 0
	for line := range strings.Lines(section(text, "    inputs:", "    outputs:")) {
		name, isInput := strings.CutSuffix(strings.TrimPrefix(strings.TrimRight(line, "\n"), "      "), ":")
		if isInput && !strings.HasPrefix(name, " ") {
			inputs++
			require.Regexp(t, `\{\{ inputs\.`+name+`\s*\}\}`, group)
		}
	}
	require.Equal(t, 11, inputs)
}
