// Command mutations shows that the tests notice when a check is gone: it takes
// each one out of a copy of the repository, runs the check's test there, and
// wants it to fail. A test that still passes is a survivor, and exit status 1.
package main

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/goccy/go-yaml"
)

//go:embed mutations.yml
var list []byte

// mutation is one check taken out.
type mutation struct {
	Name string `yaml:"name"`
	File string `yaml:"file"`
	Text string `yaml:"text"` // there exactly once
	With string `yaml:"with"` // what stands there instead
	Test string `yaml:"test"` // go test's package and -run pattern
	// Limit is go test's -timeout; empty means 5m. A check against hanging,
	// taken out, makes the test hang.
	Limit string `yaml:"limit"`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, wanted []string) error {
	mutations, err := choose(wanted)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "kmemgate-mutate-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b, err := newBench(ctx, dir)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	defer table.Flush()
	bad := 0
	for _, m := range mutations {
		begin := time.Now()
		result, err := b.try(ctx, m)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			bad++
			result = "ERROR: " + err.Error()
		}
		fmt.Fprintf(table, "%s\t%s\t%.0f s\t%s\n", m.Name, m.File, time.Since(begin).Seconds(), result)
		fmt.Fprintf(os.Stderr, "%s: %s\n", m.Name, result)
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d checks can be taken out without a test that says so", bad, len(mutations))
	}
	return nil
}

// choose reads the list; every file's text is checked before anything runs.
func choose(wanted []string) ([]mutation, error) {
	var all, chosen []mutation
	if err := yaml.UnmarshalWithOptions(list, &all, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("mutations.yml: %w", err)
	}
	for _, m := range all {
		if len(wanted) > 0 && !slices.ContainsFunc(wanted, func(w string) bool { return strings.Contains(m.Name, w) }) {
			continue
		}
		if _, err := m.apply("."); err != nil {
			return nil, err
		}
		chosen = append(chosen, m)
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("no mutation is named like %s", strings.Join(wanted, " or "))
	}
	return chosen, nil
}

// apply returns the file below dir without the check.
func (m mutation) apply(dir string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(dir, m.File))
	if err != nil {
		return nil, err
	}
	if n := bytes.Count(text, []byte(m.Text)); n != 1 {
		return nil, fmt.Errorf("%s: %s has its text %d times, want once: mend .ci/mutations/mutations.yml", m.Name, m.File, n)
	}
	return bytes.Replace(text, []byte(m.Text), []byte(m.With), 1), nil
}

// bench is a copy of the repository, with a cache of its own that borrows the
// user's kernels.
type bench struct {
	dir   string
	env   []string
	whole map[string]outcome // of each test, with nothing taken out
}

func newBench(ctx context.Context, dir string) (*bench, error) {
	b := &bench{dir: filepath.Join(dir, "repository"), whole: map[string]outcome{}}
	if out, err := exec.CommandContext(ctx, "rsync", "-a", "--exclude=/.git", "--exclude=/bin", "./", b.dir).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("copy the repository: %w: %s", err, out)
	}
	user, err := os.UserCacheDir()
	if err != nil {
		return nil, err
	}
	goCache, err := exec.CommandContext(ctx, "go", "env", "GOCACHE").Output()
	if err != nil {
		return nil, fmt.Errorf("go env GOCACHE: %w", err)
	}
	cache, temp := filepath.Join(dir, "cache"), filepath.Join(dir, "tmp")
	if err := errors.Join(os.MkdirAll(filepath.Join(cache, "kmemgate"), 0o755), os.Mkdir(temp, 0o755)); err != nil {
		return nil, err
	}
	for _, kind := range []string{"kernels", "sources", "lists"} {
		theirs := filepath.Join(user, "kmemgate", kind)
		if _, err := os.Stat(theirs); err != nil {
			continue
		}
		if err := os.Symlink(theirs, filepath.Join(cache, "kmemgate", kind)); err != nil {
			return nil, err
		}
	}
	// u-root takes a minute to build; the mutated agents stay in the copy.
	if out, err := exec.CommandContext(ctx, "cp", "-a", filepath.Join(user, "kmemgate", "userland"), filepath.Join(cache, "kmemgate")).CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "mutate: no userland to begin with: %s", out)
	}
	b.env = append(os.Environ(), "CI=true", "TMPDIR="+temp, "XDG_CACHE_HOME="+cache, "GOCACHE="+string(bytes.TrimSpace(goCache)))
	return b, nil
}

// outcome is how a test went with nothing taken out: the tests without subtests
// that passed, or why that proves nothing.
type outcome struct {
	leaves []string
	err    error
}

// try takes a check out, runs its test, and puts the check back. The result is
// how the test failed: each of its subtests must.
func (b *bench) try(ctx context.Context, m mutation) (string, error) {
	whole := b.passesWhole(ctx, m)
	if whole.err != nil {
		return "", whole.err
	}
	text, err := m.apply(b.dir)
	if err != nil {
		return "", err
	}
	file := filepath.Join(b.dir, m.File)
	original, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(file, text, 0o644); err != nil {
		return "", err
	}
	out, testErr := b.test(ctx, m)
	if err := os.WriteFile(file, original, 0o644); err != nil {
		return "", err
	}
	passed := marked(out, "--- PASS: ")
	survivors := slices.DeleteFunc(slices.Clone(whole.leaves), func(leaf string) bool { return !slices.Contains(passed, leaf) })
	switch {
	case testErr == nil:
		return "", errors.New("SURVIVED: its test passes all the same")
	case strings.Contains(out, "[build failed]") || strings.Contains(out, "[setup failed]"):
		return "", fmt.Errorf("does not compile: %s", firstLines(out, 5))
	case len(survivors) > 0:
		return "", fmt.Errorf("SURVIVED: %s pass all the same", strings.Join(survivors, ", "))
	case strings.Contains(out, "panic: test timed out"):
		return "noticed: the test hangs", nil
	}
	return told(whole.leaves, marked(out, "--- FAIL: "))
}

// told wants a failure of each subtest, and names them.
func told(leaves, failed []string) (string, error) {
	silent := slices.DeleteFunc(slices.Clone(leaves), func(leaf string) bool { return slices.Contains(failed, leaf) })
	if len(silent) > 0 {
		return "", fmt.Errorf("neither passed nor failed: %s", strings.Join(silent, ", "))
	}
	return "noticed by " + strings.Join(leaves, ", "), nil
}

// passesWhole runs a mutation's test with nothing taken out, once: a test that
// fails anyway, or is skipped, proves nothing.
func (b *bench) passesWhole(ctx context.Context, m mutation) outcome {
	if o, known := b.whole[m.Test]; known {
		return o
	}
	out, err := b.test(ctx, m)
	o := outcome{leaves: leaves(marked(out, "--- PASS: "))}
	switch {
	case err != nil:
		o.err = fmt.Errorf("its test fails with the check in place: %s", firstLines(out, 20))
	case strings.Contains(out, "--- SKIP: ") || len(o.leaves) == 0:
		o.err = fmt.Errorf("its test is skipped, or there is none: %s", m.Test)
	}
	b.whole[m.Test] = o
	return o
}

func (b *bench) test(ctx context.Context, m mutation) (string, error) {
	pkg, pattern, _ := strings.Cut(m.Test, " ")
	c := exec.CommandContext(ctx, "go", "test", "-v", "-count=1", "-timeout", cmp.Or(m.Limit, "5m"), "-run", pattern, pkg)
	c.Dir, c.Env = b.dir, b.env
	// The test and its guests end with go test.
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGINT) }
	c.WaitDelay = 10 * time.Second
	out, err := c.CombinedOutput()
	return string(out), err
}

// marked lists the tests that go test -v has behind a mark.
//
// Example:     --- FAIL: TestFailsClosed/panic_while_loading (7.31s)
func marked(out, mark string) []string {
	var names []string
	for line := range strings.Lines(out) {
		_, rest, ok := strings.Cut(line, mark)
		if f := strings.Fields(rest); ok && len(f) > 0 {
			names = append(names, f[0])
		}
	}
	return names
}

// leaves are the tests that have no subtests among them.
func leaves(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		return slices.ContainsFunc(names, func(other string) bool { return strings.HasPrefix(other, name+"/") })
	})
}

func firstLines(s string, n int) string {
	lines := strings.SplitN(strings.TrimSpace(s), "\n", n+1)
	return strings.Join(lines[:min(n, len(lines))], "\n")
}
