package initramfs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"time"
)

const modulePath = "github.com/kmemgate/kmemgate"

// source is this module's sources and the toolchain that compiles them.
type source struct {
	dir     string // of go.mod
	goCmd   string
	goArch  string
	goRoot  string
	version string // of the toolchain
}

// findSource finds this module's sources: where this program was compiled
// (a clone, or the module cache); else the module that the current directory's
// module requires (another project's go test); else, for a binary that was
// installed or copied here, the module proxy, at this program's version.
func findSource(ctx context.Context, goCmd, goArch string) (*source, error) {
	s := &source{goCmd: goCmd, goArch: goArch}
	env, err := s.run(ctx, "", "env", "GOVERSION", "GOROOT")
	if err != nil {
		return nil, fmt.Errorf("guest programs are compiled by the Go toolchain: %w", err)
	}
	lines := strings.Fields(string(env))
	if len(lines) != 2 {
		return nil, fmt.Errorf("guest programs: %s env says %q", goCmd, env)
	}
	s.version, s.goRoot = lines[0], lines[1]
	for _, find := range []func(context.Context) string{s.compiledFrom, s.required, s.downloaded} {
		if dir := find(ctx); isModule(dir) {
			s.dir = dir
			return s, nil
		}
	}
	return nil, fmt.Errorf("guest programs: the sources of %s are not to be found: run kmemgate from its clone, or install it by go install", modulePath)
}

// isModule tells whether dir holds this module.
func isModule(dir string) bool {
	b, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	return dir != "" && err == nil && bytes.HasPrefix(b, []byte("module "+modulePath+"\n"))
}

// compiledFrom is empty in programs built with -trimpath.
func (s *source) compiledFrom(context.Context) string {
	_, file, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(file) {
		return ""
	}
	return filepath.Dir(filepath.Dir(file))
}

func (s *source) required(ctx context.Context) string {
	dir, err := s.run(ctx, "", "list", "-m", "-f", "{{.Dir}}", modulePath)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(dir))
}

func (s *source) downloaded(ctx context.Context) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	version := info.Main.Version
	for _, d := range info.Deps {
		if d.Path == modulePath {
			version = d.Version
		}
	}
	if version == "" || strings.HasPrefix(version, "(") || strings.Contains(version, "+dirty") {
		return ""
	}
	out, err := s.run(ctx, os.TempDir(), "mod", "download", "-json", modulePath+"@"+version)
	var m struct{ Dir string }
	if err != nil || json.Unmarshal(out, &m) != nil {
		return ""
	}
	return m.Dir
}

// environment is what every go command here gets. The user's own GOFLAGS,
// workspace and targets are about the user's module, not this one.
func (s *source) environment() []string {
	return append(os.Environ(), "GOOS=linux", "GOARCH="+s.goArch, "CGO_ENABLED=0",
		"GOFLAGS=-buildvcs=false", "GOWORK=off", "GO111MODULE=on", "GOAMD64=v1", "GOARM64=v8.0")
}

// compile compiles one static, reproducible program. The last assignment of a
// variable counts, so env can override. What go has to put down meanwhile lies beside
// the program, in the cache's half-made entry: a go that is killed leaves it there,
// where it is cleared away.
func (s *source) compile(ctx context.Context, dir, out, pkg string, env ...string) error {
	env = append([]string{"GOTMPDIR=" + filepath.Dir(out)}, env...)
	_, err := s.runEnv(ctx, dir, append(s.environment(), env...), "build", "-trimpath", "-ldflags=-s -w", "-o", out, pkg)
	return err
}

// run runs the go command and returns its output; its error is one line.
func (s *source) run(ctx context.Context, dir string, args ...string) ([]byte, error) {
	return s.runEnv(ctx, dir, s.environment(), args...)
}

func (s *source) runEnv(ctx context.Context, dir string, env []string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, s.goCmd, args...)
	cmd.Dir, cmd.Env = dir, env
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	endWithUs(cmd)
	// The kernel sends Pdeathsig when the thread that forked ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	out, err := cmd.Output()
	switch {
	case err == nil:
		return out, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, exec.ErrNotFound):
		return nil, fmt.Errorf("%s: not found: install Go 1.26 or newer", s.goCmd)
	}
	return nil, fmt.Errorf("%s %s: %w: %s", s.goCmd, strings.Join(args[:min(2, len(args))], " "), err, telling(stderr.String()))
}

// endWithUs interrupts go, and the compilers that it started, where we are interrupted;
// go alone where we are killed: it takes its compilers with it. It tidies up, given a
// moment.
func endWithUs(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGINT}
	cmd.WaitDelay = 10 * time.Second
	cmd.Cancel = func() error {
		err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
		if errors.Is(err, syscall.ESRCH) {
			return os.ErrProcessDone
		}
		return err
	}
}

// telling is the first line of a compiler's complaint that is not a heading.
func telling(stderr string) string {
	for line := range strings.Lines(stderr) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			return line
		}
	}
	return "no message"
}

// agentSources is all that the agent's binary is made of.
func agentSources(s *source) ([]byte, error) {
	return sourcesOf(s.dir, "go.mod", "go.sum", "initramfs/agent", "initramfs/wire", "initramfs/source.go")
}

// buildAgent compiles the agent: static, reproducible, 2.6 MB.
func buildAgent(ctx context.Context, s *source, dir string) ([]File, error) {
	path := filepath.Join(dir, "agent")
	defer os.Remove(path) // only the archive is kept
	if err := s.compile(ctx, s.dir, path, "./initramfs/agent"); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return []File{{Name: "init", Mode: 0o755, Content: b}}, nil
}
