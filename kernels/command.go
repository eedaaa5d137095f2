package kernels

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Command starts a child process the one way this project does: in a process
// group of its own, ended by SIGINT and, after Grace, by SIGKILL when the
// context ends or kmemgate itself dies, with everything it prints kept.
type Command struct {
	Args []string // Args[0] is looked up in PATH
	Dir  string   // empty: the current directory
	Env  []string // on top of the environment; LC_ALL=C is always set
	// Log takes stdout and stderr; nil drops them, the telling line excepted.
	Log io.Writer
	// LogFile is named in errors as the place to read on.
	LogFile string
	Stdin   io.Reader // nil: /dev/null
	// Stdout takes the standard output in place of Log.
	Stdout io.Writer
	// Line is called with every line that goes to the log; may be nil.
	Line func(line string)
	// Grace is the time between SIGINT and SIGKILL; 0 means 10 s.
	Grace time.Duration
}

// CommandError tells that a command could not be started or did not exit 0.
type CommandError struct {
	Command string // quoted for a shell
	Telling string // the line that tells why; may be empty
	LogFile string // everything it printed; may be empty
	Err     error  // *exec.ExitError, exec.ErrNotFound or the context's error
}

// Error is one line: what failed, why, and where to read on.
func (e *CommandError) Error() string {
	s := e.Command
	if name, _, _ := strings.Cut(s, " "); e.LogFile != "" || len(s) > 160 {
		s = name // the whole command is the log's first line, or too long for any line
	}
	s += ": " + e.Err.Error()
	if e.Telling != "" {
		s += ": " + e.Telling
	}
	if e.LogFile != "" {
		s += " (log: " + e.LogFile + ")"
	}
	return s
}

func (e *CommandError) Unwrap() error { return e.Err }

// Run runs the command to its end.
func (c *Command) Run(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, c.Args[0], c.Args[1:]...)
	cmd.Dir, cmd.Stdin = c.Dir, c.Stdin
	cmd.Env = append(append(cleanEnv(os.Environ()), c.Env...), "LC_ALL=C")
	lines := &lineSink{log: c.Log, line: c.Line}
	cmd.Stdout, cmd.Stderr = io.Writer(lines), io.Writer(lines)
	if c.Stdout != nil {
		cmd.Stdout = c.Stdout
	}
	c.endWithUs(cmd)
	// The kernel sends Pdeathsig when the *thread* that forked ends
	// (prctl(2), PR_SET_PDEATHSIG), so it has to stay until the child is gone.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := cmd.Start()
	if err == nil {
		err = cmd.Wait()
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // stragglers of the group
	}
	lines.flush()
	return c.explain(ctx, err, lines)
}

// steersMake matches variables that would steer a kernel's build from outside
// and past its key: what a make that called us hands down (its jobserver, its
// flags), and what kbuild reads (Documentation/kbuild/kbuild.rst); and those
// that point git at another tree, where a git hook calls us.
var steersMake = regexp.MustCompile(`^(MAKE|MFLAGS|GNUMAKEFLAGS|KBUILD_|KCONFIG_|K[AC]FLAGS|KCPPFLAGS|KRUST|(SUB)?ARCH=|CROSS_COMPILE|LLVM|LOCALVERSION|INSTALL_|[AC]FLAGS_|LDFLAGS_|HOST(C|LD)|GIT_(DIR|WORK_TREE|INDEX_FILE)=)`)

func cleanEnv(env []string) []string {
	return slices.DeleteFunc(env, steersMake.MatchString)
}

func (c *Command) endWithUs(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	cmd.WaitDelay = c.Grace
	if cmd.WaitDelay == 0 {
		cmd.WaitDelay = 10 * time.Second
	}
	cmd.Cancel = func() error {
		err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
		if errors.Is(err, syscall.ESRCH) {
			return os.ErrProcessDone
		}
		return err
	}
}

func (c *Command) explain(ctx context.Context, err error, lines *lineSink) error {
	if err == nil {
		return lines.err
	}
	if ctx.Err() != nil { // "signal: interrupt" and its echoes are only how it shows
		return &CommandError{Command: Quote(c.Args), LogFile: c.LogFile, Err: ctx.Err()}
	}
	return &CommandError{Command: Quote(c.Args), Telling: lines.telling(), LogFile: c.LogFile, Err: err}
}

// Output runs the command and returns what it wrote to standard output.
func (c *Command) Output(ctx context.Context) (string, error) {
	var out bytes.Buffer
	cmd := *c
	cmd.Stdout = &out
	err := cmd.Run(ctx)
	return out.String(), err
}

// plainWord needs no quotes in a shell.
var plainWord = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// Quote joins a command line so that it can be pasted into a shell.
func Quote(args []string) string {
	words := make([]string, len(args))
	for i, arg := range args {
		words[i] = arg
		if !plainWord.MatchString(arg) {
			words[i] = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

// tells are the marks of a line that explains a failure, the best first.
var tells = []*regexp.Regexp{
	regexp.MustCompile(`No space left on device`),
	regexp.MustCompile(`\berror: |ERROR: modpost|fatal error`),
	regexp.MustCompile(`(?i)\berror\b.*:|undefined reference|No rule to make target|^E: |does not look like a tar archive|^(xz|gzip|bzip2|zstd|/\*stdin\*\\ ): `),
	regexp.MustCompile(`not found|No such file|[Cc]annot|\*\*\*`),
}

// lineSink keeps a log, cuts it into lines, and remembers the most telling.
type lineSink struct {
	mu   sync.Mutex
	log  io.Writer
	line func(string)
	rest []byte
	best [5]string // by rank in tells; the last is the last line of all
	err  error     // of writing the log
}

// maxLine bounds what is kept of a line without an end.
const maxLine = 16 << 10

func (s *lineSink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.log != nil && s.err == nil {
		// A full disk must not stop the child by SIGPIPE: the error is told
		// at the end, with its cure.
		_, s.err = s.log.Write(p)
	}
	s.rest = append(s.rest, p...)
	for {
		i := bytes.IndexByte(s.rest, '\n')
		if i < 0 && len(s.rest) > maxLine {
			i = maxLine
		}
		if i < 0 {
			return len(p), nil
		}
		s.take(string(s.rest[:i]))
		s.rest = s.rest[min(i+1, len(s.rest)):]
	}
}

func (s *lineSink) take(line string) {
	if s.line != nil {
		s.line(line)
	}
	line = strings.TrimSpace(line)
	if line == "" {
		return
	}
	for rank, tell := range tells {
		if s.best[rank] == "" && tell.MatchString(line) {
			s.best[rank] = line
			break
		}
	}
	s.best[len(tells)] = line
}

func (s *lineSink) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.rest) > 0 {
		s.take(string(s.rest))
		s.rest = nil
	}
}

func (s *lineSink) telling() string {
	for _, line := range s.best {
		if line != "" {
			return shorten(line)
		}
	}
	return ""
}

// shorten cuts the middle out of a long line: gcc tells the reason first, and cp last,
// behind two paths.
func shorten(line string) string {
	const half = 150
	if len(line) <= 2*half {
		return line
	}
	return strings.ToValidUTF8(line[:half]+"…"+line[len(line)-half:], "")
}

// lookTool returns the path of a program, or an error with the command that
// installs it.
func lookTool(program string) (string, error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return "", &Error{Fault: FaultHost, Err: fmt.Errorf("%s: not found", program), Cure: CureOf(program)}
	}
	return path, nil
}
